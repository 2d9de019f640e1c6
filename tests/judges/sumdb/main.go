// A judge that nobody here wrote: golang.org/x/mod/sumdb, the reference implementation of
// signed notes and of tiled logs. It reads cases from standard input, one JSON object a line,
// and answers each with one JSON string a line: empty where it accepts, else its reason.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type testCase struct {
	Kind  string // note, inclusion, consistency, tiles
	Vkey  string
	Note  []byte
	Index int64
	Old   int64
	Size  int64
	Leaf  []byte
	Root  []byte
	From  []byte // root of the old tree
	Proof [][]byte
	Path  string // folder of a tile tree
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var c testCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatal(err)
		}
		answer := ""
		if err := judge(c); err != nil {
			answer = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func judge(c testCase) error {
	if c.Kind == "note" {
		verifier, err := note.NewVerifier(c.Vkey)
		if err != nil {
			return err
		}
		_, err = note.Open(c.Note, note.VerifierList(verifier))
		return err
	}
	hashes := make([]tlog.Hash, 0, len(c.Proof))
	for _, p := range append([][]byte{c.Root}, c.Proof...) {
		h, err := hash(p)
		if err != nil {
			return err
		}
		hashes = append(hashes, h)
	}
	root, proof := hashes[0], hashes[1:]
	switch c.Kind {
	case "inclusion":
		leaf, err := hash(c.Leaf)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(tlog.RecordProof(proof), c.Size, root, c.Index, leaf)
	case "consistency":
		from, err := hash(c.From)
		if err != nil {
			return err
		}
		return tlog.CheckTree(tlog.TreeProof(proof), c.Size, root, c.Old, from)
	case "tiles":
		return readEveryLeaf(c.Path, tlog.Tree{N: c.Size, Hash: root})
	}
	return fmt.Errorf("unknown kind %q", c.Kind)
}

func hash(b []byte) (tlog.Hash, error) {
	var h tlog.Hash
	if len(b) != len(h) {
		return h, fmt.Errorf("hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}

// readEveryLeaf asks for all leaf hashes; the reader authenticates the tiles against the tree.
func readEveryLeaf(folder string, tree tlog.Tree) error {
	indexes := make([]int64, tree.N)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	_, err := tlog.TileHashReader(tree, tileFolder(folder)).ReadHashes(indexes)
	return err
}

type tileFolder string

func (tileFolder) Height() int { return 8 }

func (tileFolder) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tileFolder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		// C2SP's paths leave out the height, which is always 8.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		b, err := os.ReadFile(filepath.Join(string(folder), path))
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

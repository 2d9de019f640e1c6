// A judge that nobody here wrote: golang.org/x/mod/sumdb, the reference implementation of
// signed notes and of tiled logs.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"example.invalid/judges/answer"
)

func main() {
	answer.Each(map[string]func(answer.Case) error{
		"checkpoint": func(c answer.Case) error {
			verifier, err := note.NewVerifier(c.Vkey)
			if err != nil {
				return err
			}
			_, err = note.Open(c.Note, note.VerifierList(verifier))
			return err
		},
		"inclusion": func(c answer.Case) error {
			hashes, err := hashesOf(append([][]byte{c.Root}, c.Proof...))
			if err != nil {
				return err
			}
			proof, leaf := tlog.RecordProof(hashes[1:]), tlog.RecordHash(c.Entry)
			return tlog.CheckRecord(proof, int64(c.Size), hashes[0], int64(c.Index), leaf)
		},
		"consistency": func(c answer.Case) error {
			hashes, err := hashesOf(append([][]byte{c.Root, c.From}, c.Proof...))
			if err != nil {
				return err
			}
			proof := tlog.TreeProof(hashes[2:])
			return tlog.CheckTree(proof, int64(c.Size), hashes[0], int64(c.Old), hashes[1])
		},
		"tiles": func(c answer.Case) error {
			hashes, err := hashesOf([][]byte{c.Root})
			if err != nil {
				return err
			}
			return readEveryLeaf(c.Path, tlog.Tree{N: int64(c.Size), Hash: hashes[0]})
		},
	})
}

// hashesOf refuses what tlog.Hash, an array of 32 bytes, could not hold.
func hashesOf(values [][]byte) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(values))
	for i, value := range values {
		if len(value) != tlog.HashSize {
			return nil, fmt.Errorf("hash of %d bytes", len(value))
		}
		copy(hashes[i][:], value)
	}
	return hashes, nil
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

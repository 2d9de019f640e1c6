// Package answer is how every judge of this module is asked: one JSON object a line on standard
// input, and for each one JSON string a line on standard output: empty where the judge accepts,
// else its reason. What is not the judge's own refusal (a line that is no case, a kind that it
// was not made for) ends the program with status 2, so that no fault of ours is a refusal.
package answer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Case is what a judge is asked; each kind uses some of the fields.
type Case struct {
	Kind string

	Vkey   string // checkpoint, cosignature, proof: the signer's key
	Origin string // checkpoint, proof: the log that is expected
	Note   []byte // checkpoint, cosignature

	Index uint64 // inclusion
	Old   uint64 // consistency
	Size  uint64
	Entry []byte // inclusion, proof, receipt
	Root  []byte
	From  []byte // consistency: root of the old tree
	Proof [][]byte

	Policy string // proof: a tlog-policy
	File   []byte // proof: the .tlog-proof; receipt: the COSE_Sign1
	Key    []byte // receipt: the raw Ed25519 key

	Path string // tiles: folder of a tile tree
}

// Each asks the judge of that kind about every case.
func Each(judges map[string]func(Case) error) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			broken("no case: %v", err)
		}
		judge, ok := judges[c.Kind]
		if !ok {
			broken("not a judge of %q", c.Kind)
		}
		reason := ""
		if err := judge(c); err != nil {
			reason = err.Error()
		}
		if err := answers.Encode(reason); err != nil {
			broken("cannot answer: %v", err)
		}
	}
	if err := lines.Err(); err != nil {
		broken("cannot read: %v", err)
	}
	if err := out.Flush(); err != nil {
		broken("cannot answer: %v", err)
	}
}

func broken(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(2)
}

// A judge that nobody here wrote: filippo.io/torchwood, which reads C2SP's policies, checkpoints,
// Ed25519 cosignatures and .tlog-proof files. It stands on x/mod's notes and trees, but has
// readers of its own. (Its releases with ML-DSA-44 need a newer Go than the others.)
package main

import (
	"fmt"

	"filippo.io/torchwood"
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
			return open(c, verifier)
		},
		"cosignature": func(c answer.Case) error {
			verifier, err := torchwood.NewCosignatureVerifier(c.Vkey)
			if err != nil {
				return err
			}
			return open(c, verifier)
		},
		"proof": func(c answer.Case) error {
			policy, err := torchwood.ParsePolicy(fmt.Appendf(nil, "log %s\n%s", c.Vkey, c.Policy))
			if err != nil {
				return err
			}
			return torchwood.VerifyProof(policy, tlog.RecordHash(c.Entry), c.File)
		},
	})
}

func open(c answer.Case, verifier note.Verifier) error {
	policy := torchwood.ThresholdPolicy(
		2, torchwood.OriginPolicy(c.Origin), torchwood.SingleVerifierPolicy(verifier),
	)
	_, _, err := torchwood.VerifyCheckpoint(c.Note, policy)
	return err
}

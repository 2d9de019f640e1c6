// Judges that nobody here wrote: github.com/transparency-dev/formats (checkpoints, cosignatures
// with Ed25519 and ML-DSA-44, policies, .tlog-proof files) and github.com/transparency-dev/merkle
// (both proofs), the parts of which Tessera and its witnesses are made.
package main

import (
	"errors"

	"github.com/transparency-dev/formats/log"
	cosignature "github.com/transparency-dev/formats/note"
	tlogproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"example.invalid/judges/answer"
)

func main() {
	answer.Each(map[string]func(answer.Case) error{
		"checkpoint": func(c answer.Case) error {
			verifier, err := note.NewVerifier(c.Vkey)
			if err != nil {
				return err
			}
			_, _, _, err = log.ParseCheckpoint(c.Note, c.Origin, verifier)
			return err
		},
		"cosignature": cosigned,
		"ml-dsa":      cosigned,
		"inclusion": func(c answer.Case) error {
			leaf := rfc6962.DefaultHasher.HashLeaf(c.Entry)
			return proof.VerifyInclusion(
				rfc6962.DefaultHasher, c.Index, c.Size, leaf, c.Proof, c.Root)
		},
		"consistency": func(c answer.Case) error {
			return proof.VerifyConsistency(
				rfc6962.DefaultHasher, c.Old, c.Size, c.Proof, c.From, c.Root)
		},
		"proof": proofFile,
	})
}

func cosigned(c answer.Case) error {
	verifier, err := cosignature.NewVerifierForCosignatureV1(c.Vkey)
	if err != nil {
		return err
	}
	_, _, _, err = log.ParseCheckpoint(c.Note, c.Origin, verifier)
	return err
}

func proofFile(c answer.Case) error {
	var file tlogproof.TLogProof
	if err := file.Unmarshal(c.File); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(c.Vkey)
	if err != nil {
		return err
	}
	checkpoint, _, _, err := log.ParseCheckpoint(file.Checkpoint, c.Origin, verifier)
	if err != nil {
		return err
	}
	quorum, err := witness.ParsePolicy([]byte(c.Policy))
	if err != nil {
		return err
	}
	if !quorum.Satisfied(file.Checkpoint) {
		return errors.New("the policy's quorum did not cosign")
	}
	path := make([][]byte, len(file.Hashes))
	for i := range file.Hashes {
		path[i] = file.Hashes[i][:]
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(c.Entry)
	return proof.VerifyInclusion(
		rfc6962.DefaultHasher, file.Index, checkpoint.Size, leaf, path, checkpoint.Hash)
}

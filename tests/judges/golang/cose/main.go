// Judges that nobody here wrote: github.com/veraison/go-cose reads the receipt and verifies its
// signature, github.com/transparency-dev/merkle computes the root that must have been signed.
// Between them stand the two lookups of RFC 9942: which tree (395, protected) and which proof
// (396, unprotected).
package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/veraison/go-cose"

	"example.invalid/judges/answer"
)

type unprotectedHeader struct {
	Proofs struct {
		Inclusion [][]byte `cbor:"-1,keyasint"`
	} `cbor:"396,keyasint"`
}

type inclusion struct {
	_     struct{} `cbor:",toarray"`
	Size  uint64
	Index uint64
	Path  [][]byte
}

func main() {
	answer.Each(map[string]func(answer.Case) error{"receipt": receipt})
}

func receipt(c answer.Case) error {
	var message cose.Sign1Message
	if err := message.UnmarshalCBOR(c.File); err != nil {
		return err
	}
	if tree := message.Headers.Protected[int64(395)]; tree != int64(1) {
		return fmt.Errorf("verifiable data structure %v, not RFC9162_SHA256", tree)
	}
	if message.Payload != nil {
		return errors.New("the payload is not detached")
	}
	root, err := impliedRoot(message.Headers.RawUnprotected, c.Entry)
	if err != nil {
		return err
	}
	message.Payload = root
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, ed25519.PublicKey(c.Key))
	if err != nil {
		return err
	}
	return message.Verify(nil, verifier)
}

func impliedRoot(unprotected []byte, entry []byte) ([]byte, error) {
	var header unprotectedHeader
	if err := cbor.Unmarshal(unprotected, &header); err != nil {
		return nil, err
	}
	if len(header.Proofs.Inclusion) != 1 {
		return nil, fmt.Errorf("%d inclusion proofs", len(header.Proofs.Inclusion))
	}
	var p inclusion
	if err := cbor.Unmarshal(header.Proofs.Inclusion[0], &p); err != nil {
		return nil, err
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(entry)
	return proof.RootFromInclusionProof(rfc6962.DefaultHasher, p.Index, p.Size, leaf, p.Path)
}

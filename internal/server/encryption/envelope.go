package encryption

import (
	"cmp"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// envelope is upstream's EncryptedObject: data, and what a KMS needs to give the key to it.
//
//	1 bytes data · 2 string keyID · 3 bytes encrypted DEK source · 4 map<string, bytes> annotations · 5 enum type of the DEK source
type envelope struct {
	data        []byte
	keyID       string
	source      []byte
	annotations map[string][]byte
	kind        sourceKind
}

// sourceKind is how the key of the data comes from the DEK source.
type sourceKind uint64

const (
	// sourceKey: it is the key.
	sourceKey sourceKind = 0
	// sourceSeed: a key for each value is expanded from it by HKDF-SHA256 with 32 random bytes that precede the value.
	sourceSeed sourceKind = 1
)

func (e *envelope) marshal() []byte {
	var b []byte
	field := func(n protowire.Number, v []byte) {
		if len(v) > 0 {
			b = protowire.AppendTag(b, n, protowire.BytesType)
			b = protowire.AppendBytes(b, v)
		}
	}
	field(1, e.data)
	field(2, []byte(e.keyID))
	field(3, e.source)
	for _, k := range sortedKeys(e.annotations) {
		var entry []byte
		entry = protowire.AppendTag(entry, 1, protowire.BytesType)
		entry = protowire.AppendString(entry, k)
		entry = protowire.AppendTag(entry, 2, protowire.BytesType)
		entry = protowire.AppendBytes(entry, e.annotations[k])
		field(4, entry)
	}
	if e.kind != 0 {
		b = protowire.AppendTag(b, 5, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(e.kind))
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}

var errEnvelope = errors.New("the envelope of the value is broken")

func unmarshalEnvelope(b []byte) (*envelope, error) {
	e := &envelope{}
	err := fields(b, func(n protowire.Number, v []byte, number uint64) error {
		switch n {
		case 1:
			e.data = v
		case 2:
			e.keyID = string(v)
		case 3:
			e.source = v
		case 4:
			return e.annotation(v)
		case 5:
			e.kind = sourceKind(number)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(e.data) == 0 || e.keyID == "" || len(e.source) == 0:
		return nil, errEnvelope
	case e.kind != sourceKey && e.kind != sourceSeed:
		return nil, fmt.Errorf("the envelope of the value is of an unknown kind: %d", e.kind)
	}
	return e, nil
}

func (e *envelope) annotation(entry []byte) error {
	var key string
	var value []byte
	err := fields(entry, func(n protowire.Number, v []byte, _ uint64) error {
		switch n {
		case 1:
			key = string(v)
		case 2:
			value = v
		}
		return nil
	})
	if e.annotations == nil {
		e.annotations = map[string][]byte{}
	}
	e.annotations[key] = value
	return err
}

// fields calls f for each field of a message.
func fields(b []byte, f func(n protowire.Number, bytes []byte, number uint64) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errEnvelope
		}
		b = b[size:]
		var v []byte
		var number uint64
		switch t {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return errEnvelope
		}
		b = b[size:]
		if err := f(n, v, number); err != nil {
			return err
		}
	}
	return nil
}

// seedSize of seeds, of the random bytes in front of each value, and of the keys made of both.
const seedSize = 32

// seeded encrypts each value with a key of its own, so that a seed lasts for any number of values.
type seeded []byte

func (s seeded) keyFor(info []byte) (gcm, error) {
	secret, err := hkdf.Expand(sha256.New, s, string(info), seedSize)
	if err != nil {
		return gcm{}, err
	}
	return newGCM(secret)
}

func (s seeded) seal(plain []byte, at string) ([]byte, error) {
	info := make([]byte, seedSize)
	if _, err := rand.Read(info); err != nil {
		return nil, err
	}
	g, err := s.keyFor(info)
	if err != nil {
		return nil, err
	}
	data, err := g.seal(plain, at)
	return append(info, data...), err
}

func (s seeded) open(data []byte, at string) ([]byte, error) {
	if len(data) < seedSize {
		return nil, errTampered
	}
	g, err := s.keyFor(data[:seedSize])
	if err != nil {
		return nil, err
	}
	return g.open(data[seedSize:], at)
}

// boxOf makes the box of a DEK source that was decrypted.
func boxOf(kind sourceKind, source []byte) (box, error) {
	if kind == sourceKey {
		return newGCM(source)
	}
	if len(source) < seedSize {
		return nil, errors.New("the KMS plugin gave a seed that is too short")
	}
	return seeded(source), nil
}

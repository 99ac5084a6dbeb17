package encryption

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
)

// box is one algorithm with one key. at is the key of etcd.
type box interface {
	seal(plain []byte, at string) ([]byte, error)
	open(data []byte, at string) ([]byte, error)
}

// keyed is a provider with keys from the configuration.
type keyed struct {
	head string // k8s:enc:aesgcm:v1:
	keys []key
}

type key struct {
	name string // as it is stored, with a colon behind
	by   string // names the key and its secret, without telling it
	box  box
}

func newKey(head, name string, secret []byte, b box) key {
	sum := sha256.Sum256(secret)
	return key{name: name + ":", by: head + name + ":" + hex.EncodeToString(sum[:8]), box: b}
}

func (k *keyed) prefix() string  { return k.head }
func (k *keyed) current() string { return k.keys[0].by }

func (k *keyed) seal(at string, plain []byte) ([]byte, string, error) {
	data, err := k.keys[0].box.seal(plain, at)
	if err != nil {
		return nil, "", err
	}
	return append([]byte(k.keys[0].name), data...), k.keys[0].by, nil
}

func (k *keyed) open(_ context.Context, at string, data []byte) ([]byte, string, error) {
	var last error
	for _, key := range k.keys {
		rest, ok := bytes.CutPrefix(data, []byte(key.name))
		if !ok {
			continue
		}
		plain, err := key.box.open(rest, at)
		if err == nil {
			return plain, key.by, nil
		}
		last = fmt.Errorf("%s%s %w", k.head, key.name, err)
	}
	if last == nil {
		last = fmt.Errorf("no key of %s has the name that the value was encrypted with", k.head)
	}
	return nil, "", last
}

var errTampered = errors.New("the value does not belong to this key, or was changed")

// gcm is AES in Galois/counter mode; the key of etcd is authenticated.
type gcm struct{ cipher.AEAD }

func newGCM(secret []byte) (gcm, error) {
	b, err := aes.NewCipher(secret)
	if err != nil {
		return gcm{}, err
	}
	a, err := cipher.NewGCM(b)
	return gcm{a}, err
}

func (g gcm) seal(plain []byte, at string) ([]byte, error) {
	nonce := make([]byte, g.NonceSize(), g.NonceSize()+len(plain)+g.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return g.Seal(nonce, nonce, plain, []byte(at)), nil
}

func (g gcm) open(data []byte, at string) ([]byte, error) {
	if len(data) < g.NonceSize() {
		return nil, errTampered
	}
	plain, err := g.Open(nil, data[:g.NonceSize()], data[g.NonceSize():], []byte(at))
	if err != nil {
		return nil, errTampered
	}
	return plain, nil
}

// cbc is AES in cipher block chaining; nothing is authenticated.
type cbc struct{ cipher.Block }

func newCBC(secret []byte) (cbc, error) {
	b, err := aes.NewCipher(secret)
	return cbc{b}, err
}

func (c cbc) seal(plain []byte, _ string) ([]byte, error) {
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	out := make([]byte, aes.BlockSize+len(plain)+pad)
	iv, body := out[:aes.BlockSize], out[aes.BlockSize:]
	if _, err := rand.Read(iv); err != nil {
		return nil, err
	}
	copy(body, plain)
	for i := len(plain); i < len(body); i++ {
		body[i] = byte(pad)
	}
	cipher.NewCBCEncrypter(c.Block, iv).CryptBlocks(body, body)
	return out, nil
}

func (c cbc) open(data []byte, _ string) ([]byte, error) {
	if len(data) < 2*aes.BlockSize || len(data)%aes.BlockSize != 0 {
		return nil, errTampered
	}
	plain := make([]byte, len(data)-aes.BlockSize)
	cipher.NewCBCDecrypter(c.Block, data[:aes.BlockSize]).CryptBlocks(plain, data[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, errTampered
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, errTampered
		}
	}
	return plain[:len(plain)-pad], nil
}

// nacl is XSalsa20 with Poly1305.
type nacl [32]byte

const naclNonce = 24

func (n *nacl) seal(plain []byte, _ string) ([]byte, error) {
	var nonce [naclNonce]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return secretbox.Seal(nonce[:], plain, &nonce, (*[32]byte)(n)), nil
}

func (n *nacl) open(data []byte, _ string) ([]byte, error) {
	if len(data) < naclNonce+secretbox.Overhead {
		return nil, errTampered
	}
	nonce := [naclNonce]byte(data[:naclNonce])
	plain, ok := secretbox.Open(nil, data[naclNonce:], &nonce, (*[32]byte)(n))
	if !ok {
		return nil, errTampered
	}
	return plain, nil
}

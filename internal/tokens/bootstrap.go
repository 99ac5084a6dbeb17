package tokens

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// Bootstrap is a bootstrap token: the part that may be seen and the part that must not.
// See https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/.
type Bootstrap struct{ ID, Secret string }

const (
	bootstrapIDLength     = 6
	bootstrapSecretLength = 16
	bootstrapAlphabet     = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// String is the token as people pass it on. It holds the secret.
func (b Bootstrap) String() string { return b.ID + "." + b.Secret }

// SecretName is the name of the secret in kube-system that holds the token.
func (b Bootstrap) SecretName() string { return "bootstrap-token-" + b.ID }

// ParseBootstrap reads a token of the form [a-z0-9]{6}.[a-z0-9]{16}. The error does not repeat it.
func ParseBootstrap(s string) (Bootstrap, error) {
	id, secret, ok := strings.Cut(s, ".")
	if !ok || !alphabetic(id, bootstrapIDLength) || !alphabetic(secret, bootstrapSecretLength) {
		return Bootstrap{}, errors.New("a bootstrap token has the form [a-z0-9]{6}.[a-z0-9]{16}")
	}
	return Bootstrap{ID: id, Secret: secret}, nil
}

// ValidBootstrapID says whether s can be the first part of a bootstrap token.
func ValidBootstrapID(s string) bool { return alphabetic(s, bootstrapIDLength) }

// NewBootstrap makes a random token.
func NewBootstrap() (Bootstrap, error) {
	id, err := random(bootstrapIDLength)
	if err != nil {
		return Bootstrap{}, err
	}
	secret, err := random(bootstrapSecretLength)
	return Bootstrap{ID: id, Secret: secret}, err
}

func alphabetic(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(bootstrapAlphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

// random picks letters without bias: bytes above the largest multiple of the alphabet are thrown away.
func random(n int) (string, error) {
	const limit = 256 - 256%len(bootstrapAlphabet)
	out := make([]byte, 0, n)
	var buf [32]byte
	for len(out) < n {
		if _, err := rand.Read(buf[:]); err != nil {
			return "", fmt.Errorf("reading random bytes: %w", err)
		}
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, bootstrapAlphabet[int(b)%len(bootstrapAlphabet)])
			}
		}
	}
	return string(out), nil
}

package store

import (
	"strings"
	"testing"
)

// FuzzContinue reads tokens, which clients may forge: the key never leaves the list's prefix.
func FuzzContinue(f *testing.F) {
	const prefix = "/registry/pods/ns/"
	f.Add(encodeContinue(7, prefix+"a\x00", prefix))
	f.Add("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi8uLi9zZWNyZXRzIn0")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		rev, start, err := decodeContinue(token, prefix)
		if err != nil {
			return
		}
		if rev == 0 || !strings.HasPrefix(start, prefix) || strings.Contains(start, "/../") {
			t.Fatalf("%q gives %d %q", token, rev, start)
		}
	})
}

package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// continueToken is upstream's: base64 of this JSON, without padding.
type continueToken struct {
	Version  string `json:"v"`
	Revision int64  `json:"rv"` // -1: go on at the newest state
	Start    string `json:"start"`
}

const continueVersion = "meta.k8s.io/v1"

// encodeContinue makes the token of the page that begins at a key. A revision of -1 goes on at the newest state.
func encodeContinue(rev int64, start, prefix string) string {
	data, err := json.Marshal(continueToken{continueVersion, rev, strings.TrimPrefix(start, prefix)})
	if err != nil {
		// Three plain fields always have a JSON form.
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// decodeContinue gives the revision and the key at which the next page begins.
func decodeContinue(token, prefix string) (rev int64, start string, err error) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, "", fmt.Errorf("continue key is not valid: %w", err)
	}
	var t continueToken
	if err := json.Unmarshal(data, &t); err != nil {
		return 0, "", fmt.Errorf("continue key is not valid: %w", err)
	}
	switch {
	case t.Version != continueVersion:
		return 0, "", fmt.Errorf("continue key is not valid: server does not recognize this encoded version %s", t.Version)
	case t.Revision == 0:
		return 0, "", errors.New("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
	case t.Start == "":
		return 0, "", errors.New("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
	}
	// A token is a client's to forge: its key must stay below the prefix.
	name := "/" + t.Start
	if clean := path.Clean(name); clean != strings.TrimSuffix(name, "/") && clean != name {
		return 0, "", fmt.Errorf("continue key is not valid: %s", t.Start)
	}
	return t.Revision, prefix + t.Start, nil
}

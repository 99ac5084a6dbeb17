package tokens

import (
	"encoding/json"
	"fmt"
	"sort"

	"github.com/go-jose/go-jose/v4"
)

// KeySet is the JSON web key set (RFC 7517) of the keys, as /openid/v1/jwks serves it.
func KeySet(keys []Key) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		if k.Hidden {
			continue
		}
		m, err := method(k.Public)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public, KeyID: k.ID, Algorithm: m.Alg(), Use: "sig"})
	}
	data, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encoding the key set: %w", err)
	}
	return data, nil
}

// ProviderConfig is the OpenID Connect discovery document, as /.well-known/openid-configuration serves it: the part that
// upstream gives, enough to verify tokens.
func ProviderConfig(issuer, jwksURI string, keys []Key) ([]byte, error) {
	algs := map[string]bool{}
	for _, k := range keys {
		if k.Hidden {
			continue
		}
		m, err := method(k.Public)
		if err != nil {
			return nil, err
		}
		algs[m.Alg()] = true
	}
	doc := struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}{Issuer: issuer, JWKSURI: jwksURI, ResponseTypes: []string{"id_token"}, SubjectTypes: []string{"public"}, Algorithms: []string{}}
	for a := range algs {
		doc.Algorithms = append(doc.Algorithms, a)
	}
	sort.Strings(doc.Algorithms)
	return json.Marshal(doc)
}

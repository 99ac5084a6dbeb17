package encryption

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	key16 = "MDEyMzQ1Njc4OWFiY2RlZg=="
	key32 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	other = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"

func open(t *testing.T, text string) (*Set, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	require.NoError(t, os.WriteFile(path, []byte(head+text), 0o600))
	s, err := New(t.Context(), Config{File: path})
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("%v does not name the file", err)
	}
	return s, err
}

func must(t *testing.T, text string) *Set {
	t.Helper()
	s, err := open(t, text)
	require.NoError(t, err)
	return s
}

var secrets = schema.GroupResource{Resource: "secrets"}

const at = "/registry/secrets/default/a"

func one(provider string) string {
	return "resources:\n- resources: [secrets]\n  providers:\n  - " + provider + "\n"
}

func TestProviders(t *testing.T) {
	for prefix, provider := range map[string]string{
		"k8s:enc:aesgcm:v1:k1:":    "aesgcm: {keys: [{name: k1, secret: " + key16 + "}]}",
		"k8s:enc:aescbc:v1:k1:":    "aescbc: {keys: [{name: k1, secret: " + key32 + "}]}",
		"k8s:enc:secretbox:v1:k1:": "secretbox: {keys: [{name: k1, secret: " + key32 + "}]}",
	} {
		s := must(t, one(provider))
		for _, n := range []int{0, 1, 15, 16, 17, 5000} {
			plain := bytes.Repeat([]byte("x"), n)
			stored, by, err := s.Seal(t.Context(), secrets, at, plain)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(stored, []byte(prefix)), "%s: %q", prefix, stored[:24])
			require.Equal(t, s.Current(secrets), by)
			got, by, err := s.Open(t.Context(), secrets, at, stored)
			require.NoError(t, err)
			require.Equal(t, string(plain), string(got))
			require.Equal(t, s.Current(secrets), by)

			again, _, err := s.Seal(t.Context(), secrets, at, plain)
			require.NoError(t, err)
			require.NotEqual(t, stored, again, "nothing is encrypted twice alike")

			_, _, err = s.Open(t.Context(), secrets, "/registry/secrets/default/b", stored)
			require.Equal(t, strings.Contains(prefix, "aesgcm"), err != nil, "%s moved to another key: %v", prefix, err)
			if !strings.Contains(prefix, "cbc") {
				for _, i := range []int{len(prefix), len(stored) - 1} {
					broken := bytes.Clone(stored)
					broken[i] ^= 1
					_, _, err = s.Open(t.Context(), secrets, at, broken)
					require.ErrorIs(t, err, errTampered)
				}
			}
			for cut := len(prefix); cut < min(len(stored), 80); cut++ {
				if _, _, err := s.Open(t.Context(), secrets, at, stored[:cut]); err == nil && !strings.Contains(prefix, "cbc") {
					t.Fatalf("%s: %d of %d bytes are enough", prefix, cut, len(stored))
				}
			}
		}
	}
}

func TestFirstWritesAllRead(t *testing.T) {
	old := must(t, one("aescbc: {keys: [{name: k1, secret: "+key32+"}]}"))
	stored, _, err := old.Seal(t.Context(), secrets, at, []byte("x"))
	require.NoError(t, err)
	rotated := must(t, `
resources:
- resources: [secrets]
  providers:
  - aescbc: {keys: [{name: k2, secret: `+other+`}, {name: k1, secret: `+key32+`}]}
  - identity: {}
`)
	for _, s := range [][]byte{stored, []byte("x")} {
		plain, by, err := rotated.Open(t.Context(), secrets, at, s)
		require.NoError(t, err)
		require.Equal(t, "x", string(plain))
		require.NotEqual(t, rotated.Current(secrets), by, "it is stale")
	}
	// The same name with another secret is another key.
	same := must(t, one("aescbc: {keys: [{name: k1, secret: "+other+"}]}"))
	require.NotEqual(t, old.Current(secrets), same.Current(secrets))
	// CBC alone does not notice: what another key makes of a value has good padding once in a while.
	sealed, _, err := must(t, one("aesgcm: {keys: [{name: k1, secret: "+key32+"}]}")).Seal(t.Context(), secrets, at, []byte("x"))
	require.NoError(t, err)
	_, _, err = must(t, one("aesgcm: {keys: [{name: k1, secret: "+other+"}]}")).Open(t.Context(), secrets, at, sealed)
	require.Error(t, err)
	require.NotContains(t, err.Error(), other)
	_, _, err = same.Open(t.Context(), secrets, at, []byte("x"))
	require.ErrorContains(t, err, "no identity provider")
	none := must(t, one("identity: {}"))
	_, _, err = none.Open(t.Context(), secrets, at, stored)
	require.ErrorContains(t, err, "k8s:enc:aescbc:v1:k1")
	_, _, err = none.Open(t.Context(), schema.GroupResource{Resource: "configmaps"}, at, stored)
	require.ErrorContains(t, err, "does not name configmaps")
}

func TestWildcards(t *testing.T) {
	s := must(t, `
resources:
- resources: [events]
  providers: [{identity: {}}]
- resources: [deployments.apps, pandas.bears.example]
  providers: [{aesgcm: {keys: [{name: named, secret: `+key16+`}]}}]
- resources: ["*.apps"]
  providers: [{aesgcm: {keys: [{name: apps, secret: `+key16+`}]}}]
- resources: ["*."]
  providers: [{aesgcm: {keys: [{name: core, secret: `+key16+`}]}}]
- resources: ["*.*"]
  providers: [{aesgcm: {keys: [{name: rest, secret: `+key16+`}]}}]
`)
	for gr, key := range map[schema.GroupResource]string{
		{Resource: "events"}:                            "identity",
		{Resource: "secrets"}:                           ":core:",
		{Group: "apps", Resource: "deployments"}:        ":named:",
		{Group: "bears.example", Resource: "pandas"}:    ":named:",
		{Group: "apps", Resource: "replicasets"}:        ":apps:",
		{Group: "batch", Resource: "jobs"}:              ":rest:",
		{Group: "other.example", Resource: "something"}: ":rest:",
	} {
		require.Contains(t, s.Current(gr), key, gr)
	}
}

func TestBadConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"resources: []": "resources: Required",
		"resource: []":  `unknown field "resource"`,
		one("aesgcm: {keys: [{name: k, secret: YWJj}]}"):    "resources[0].providers[0].aesgcm.keys[0].secret",
		one("aesgcm: {keys: [{name: k, secret: '!'}]}"):     "resources[0].providers[0].aesgcm.keys[0].secret",
		one("aescbc: {keys: []}"):                           "resources[0].providers[0].aescbc.keys",
		one("secretbox: {keys: [{secret: " + key32 + "}]}"): "resources[0].providers[0].secretbox.keys[0].name",
		one("{}"): "resources[0].providers[0]",
		one("kms: {apiVersion: v2, endpoint: 'unix:///x'}"):                         "resources[0].providers[0].kms.name",
		one("kms: {apiVersion: v2, name: a, endpoint: 'http://x'}"):                 "resources[0].providers[0].kms.endpoint",
		one("kms: {name: a, endpoint: 'unix:///x'}"):                                "resources[0].providers[0].kms.apiVersion",
		"resources:\n- resources: ['*.*', '*.apps']\n  providers: [{identity: {}}]": "resources[0].resources",
	} {
		_, err := open(t, text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "YWJj")
	}
	_, err := New(t.Context(), Config{File: "/no/such"})
	require.ErrorContains(t, err, "/no/such")
}

func FuzzEnvelope(f *testing.F) {
	e := envelope{data: []byte("d"), keyID: "k", source: []byte("s"), annotations: map[string][]byte{"a.b": []byte("c")}, kind: sourceSeed}
	f.Add(e.marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := unmarshalEnvelope(data)
		if err != nil {
			return
		}
		again, err := unmarshalEnvelope(e.marshal())
		if err != nil || again.keyID != e.keyID || !bytes.Equal(again.data, e.data) || len(again.annotations) != len(e.annotations) {
			t.Fatalf("%+v became %+v: %v", e, again, err)
		}
	})
}

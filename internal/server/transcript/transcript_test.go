package transcript

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const conversation = `# a remark alone

# a create
> POST /things?x=1
> Content-Type: text/plain
> @full
>
> two
> lines
= NAME metadata.name
~ for the sake
~ of it
< 201
< Content-Type: text/plain

> GET /things/${NAME}
< 200
`

// TestFileComesBack has a file saved as it was written.
func TestFileComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.http")
	require.NoError(t, os.WriteFile(path, []byte(conversation), 0o600))
	f, err := Load(path)
	require.NoError(t, err)
	require.Len(t, f, 3)
	x := f[1]
	require.Equal(t, "two\nlines", x.Body)
	require.Equal(t, "for the sake of it", x.Accepted)
	require.Equal(t, Full, x.Show)
	require.Equal(t, []string{"201", "Content-Type: text/plain"}, x.Answer)
	require.NoError(t, f.Save(path))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, conversation, string(data))
}

func TestLoadRefusesWhatItDoesNotKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.http")
	for _, text := range []string{"hello", "> GET", "> GET /\n> @wait 3", "= NAME", "> GET /\n> no header"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := Load(path)
		require.Error(t, err, text)
	}
}

// TestPlay speaks to a server that answers as one of the API might.
func TestPlay(t *testing.T) {
	now := time.Now().UTC().Format(time.RFC3339)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"kind":"Thing","apiVersion":"v1","metadata":{"name":"a","generateName":"","resourceVersion":"77","creationTimestamp":"` + now +
				`","uid":"01234567-89ab-cdef-0123-456789abcdef"}}`))
			return
		}
		_, _ = w.Write([]byte(`{"kind":"Status","message":"` + r.URL.Path + ` of ` + r.Header.Get("Authorization") + `"}`))
	}))
	t.Cleanup(srv.Close)
	tr, ok := srv.Client().Transport.(*http.Transport)
	require.True(t, ok)
	s := &Server{URL: srv.URL, Token: "t", Client: Client(tr)}
	path := filepath.Join(t.TempDir(), "f.http")
	require.NoError(t, os.WriteFile(path, []byte(conversation), 0o600))
	f, err := Load(path)
	require.NoError(t, err)
	got, err := s.Play(t.Context(), f)
	require.NoError(t, err)
	missing := []string{"Audit-Id: (none)", "Cache-Control: (none)", "X-Kubernetes-Pf-Flowschema-Uid: (none)", "X-Kubernetes-Pf-Prioritylevel-Uid: (none)"}
	with := func(code, body string) []string { return append(append([]string{code}, missing...), body) }
	require.Nil(t, got[0])
	require.Equal(t, with("201", `{"apiVersion":"v1","kind":"Thing","metadata":{"creationTimestamp":"NOW","generateName":"","name":"a","resourceVersion":"RV","uid":"UID"}}`), got[1])
	require.Equal(t, with("200", `{"kind":"Status","message":"/things/a of Bearer t"}`), got[2])
}

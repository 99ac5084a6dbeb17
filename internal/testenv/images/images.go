// Package images has an image registry for tests, of which the repositories below team/ ask for a login.
package images

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The login of repositories below team/.
const (
	User     = "u"
	Password = "p"
)

// Registry answers as an image registry. Its content is in memory.
type Registry struct{ inner http.Handler }

// NewRegistry makes an empty one.
func NewRegistry() *Registry {
	return &Registry{registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
}

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	user, password, _ := req.BasicAuth()
	if strings.HasPrefix(req.URL.Path, "/v2/team/") && (user != User || password != Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	r.inner.ServeHTTP(w, req)
}

// Push puts an image into a repository under the tag 1.
func (r *Registry) Push(t *testing.T, repo string, img v1.Image) {
	t.Helper()
	send := func(method, path, mediaType string, body []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequestWithContext(t.Context(), method, "/v2/"+repo+path, bytes.NewReader(body))
		req.Header.Set("Content-Type", mediaType)
		resp := httptest.NewRecorder()
		r.inner.ServeHTTP(resp, req)
		if resp.Code != http.StatusCreated {
			t.Fatalf("%s %s: %d %s", method, path, resp.Code, resp.Body)
		}
	}
	blob := func(data []byte, err error) {
		t.Helper()
		send(http.MethodPost, fmt.Sprintf("/blobs/uploads/?digest=sha256:%x", sha256.Sum256(data)), "application/octet-stream", data, err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		c, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		blob(io.ReadAll(c))
	}
	blob(img.RawConfigFile())
	mediaType, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.RawManifest()
	send(http.MethodPut, "/manifests/1", string(mediaType), manifest, err)
}

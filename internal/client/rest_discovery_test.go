package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// TestResources has a resource that only an old version has, and a group that cannot be read.
func TestResources(t *testing.T) {
	documents := map[string]string{
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[` +
			`{"name":"down.example.com","versions":[{"groupVersion":"down.example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"down.example.com/v1","version":"v1"}},` +
			`{"name":"example.com","versions":[{"groupVersion":"example.com/v2","version":"v2"},{"groupVersion":"example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"example.com/v2","version":"v2"}}]}`,
		"/api/v1":              `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"pods","kind":"Pod","verbs":["list"]},{"name":"pods/log","kind":"Pod","verbs":["get"]}]}`,
		"/apis/example.com/v2": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"example.com/v2","resources":[{"name":"both","kind":"Both","verbs":["list"]}]}`,
		"/apis/example.com/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"example.com/v1","resources":[{"name":"both","kind":"Both","verbs":["list"]},{"name":"olds","kind":"Old","verbs":["list"]}]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, ok := documents[r.URL.Path]
		if !ok {
			http.Error(w, "service unavailable", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, doc)
	}))
	t.Cleanup(s.Close)
	c, err := NewREST(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Resources(t.Context())
	if err == nil || !strings.Contains(err.Error(), "down.example.com/v1") {
		t.Errorf("the group that is down: %v", err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Group+"/"+r.Version+"/"+r.Name)
	}
	if want := []string{"/v1/pods", "example.com/v2/both", "example.com/v1/olds"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

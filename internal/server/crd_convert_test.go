package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/servertest"
)

const hostPorts = `{"metadata":{"name":"hosts.stable.example.com"},"spec":{"group":"stable.example.com","scope":"Namespaced","names":{"plural":"hosts","kind":"Host"},
"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"url":"%s","caBundle":"%s"},"conversionReviewVersions":["v1"]}},"versions":[
{"name":"v1","served":true,"storage":true,"selectableFields":[{"jsonPath":".hostPort"}],"schema":{"openAPIV3Schema":{"type":"object","properties":{"hostPort":{"type":"string"}}}}},
{"name":"v2","served":true,"storage":false,"selectableFields":[{"jsonPath":".host"},{"jsonPath":".port"}],"schema":{"openAPIV3Schema":{"type":"object","properties":{"host":{"type":"string"},"port":{"type":"string"}}}}}]}}`

// TestSelectableFieldsOfConvertedVersions lists and watches by fields that the stored version does not have.
func TestSelectableFieldsOfConvertedVersions(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: authn.Config{Anonymous: true}, Authz: authz.Config{Modes: []string{"AlwaysAllow"}}})
	})
	w := newWeb(t, api.REST)
	url, ca, _ := hostPortConverter(t)
	establish(t, api, w, fmt.Sprintf(hostPorts, url, ca))
	path := func(version, query string) string {
		return "/apis/stable.example.com/" + version + "/namespaces/default/hosts" + query
	}
	res, err := w.h.Get(w.host + path("v2", "?watch=true&timeoutSeconds=60&fieldSelector=host%3Done"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewScanner(res.Body)
	event := func() string {
		t.Helper()
		if !events.Scan() {
			t.Fatalf("the watch ended: %v", events.Err())
		}
		var e struct {
			Type   string
			Object struct{ Metadata struct{ Name string } }
		}
		if err := json.Unmarshal(events.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		return e.Type + " " + e.Object.Metadata.Name
	}
	for name, fields := range map[string]string{"a": `"host":"one","port":"80"`, "b": `"host":"two","port":"80"`} {
		if res, body := w.do("POST", path("v2", ""), `{"apiVersion":"stable.example.com/v2","kind":"Host","metadata":{"name":"`+name+`"},`+fields+`}`); res.StatusCode != 201 {
			t.Fatalf("%s", body)
		}
	}
	for query, want := range map[string]string{
		"v2?fieldSelector=host%3Done": "a", "v2?fieldSelector=port%3D80": "a b", "v2?fieldSelector=port%3D80,host%21%3Done": "b",
		"v1?fieldSelector=hostPort%3Dtwo:80": "b", "v1?fieldSelector=metadata.name%3Da": "a",
	} {
		version, query, _ := strings.Cut(query, "?")
		_, body := w.do("GET", path(version, "?"+query), "")
		var list metav1.PartialObjectMetadataList
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var names []string
		for _, o := range list.Items {
			names = append(names, o.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s %s: %q, want %q", version, query, got, want)
		}
	}
	if res, body := w.do("GET", path("v1", "?fieldSelector=host%3Done"), ""); res.StatusCode != 400 {
		t.Errorf("a field of the other version: %d %s", res.StatusCode, body)
	}
	if res, body := w.do("PATCH", path("v2", "/a"), `{"host":"two"}`, "Content-Type", "application/merge-patch+json"); res.StatusCode != 200 {
		t.Fatalf("%s", body)
	}
	if got := []string{event(), event()}; got[0] != "ADDED a" || got[1] != "DELETED a" {
		t.Errorf("the watch saw %q", got)
	}
}

// ageCell is a cell of a table that changes with time.
var ageCell = regexp.MustCompile(`"\d+m?\d*s"`)

// TestConversionOfManyObjects asks the webhook once for a list or the initial events of a watch, and not again for what it has told.
func TestConversionOfManyObjects(t *testing.T) {
	const path = "/apis/stable.example.com/v2/namespaces/default/hosts"
	for _, c := range []struct {
		name, query string
		headers     []string
		watch       bool
	}{
		{name: "list"},
		{name: "table", headers: []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}},
		{name: "field selector", query: "?fieldSelector=port%3D80"},
		{name: "watch", query: "?watch=true&resourceVersion=0&timeoutSeconds=60", watch: true},
		{name: "watch with a bookmark", query: "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60", watch: true},
		{name: "watch with a field selector", query: "?watch=true&resourceVersion=0&timeoutSeconds=60&fieldSelector=port%3D80", watch: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := servertest.Start(t, func(c *server.Config) {
				c.Wire = access.Wire(access.Config{Authn: authn.Config{Anonymous: true}, Authz: authz.Config{Modes: []string{"AlwaysAllow"}}})
			})
			w := newWeb(t, api.REST)
			url, ca, asked := hostPortConverter(t)
			establish(t, api, w, fmt.Sprintf(hostPorts, url, ca))
			const count = 20
			for i := range count {
				body := fmt.Sprintf(`{"apiVersion":"stable.example.com/v1","kind":"Host","metadata":{"name":"h%02d"},"hostPort":"x%d:80"}`, i, i)
				if res, text := w.do("POST", strings.Replace(path, "v2", "v1", 1), body); res.StatusCode != 201 {
					t.Fatalf("%s", text)
				}
			}
			asked()
			read := func() string {
				if c.watch {
					return initialEvents(t, w, path+c.query, count)
				}
				res, body := w.do("GET", path+c.query, "", c.headers...)
				if res.StatusCode != 200 {
					t.Fatalf("%d %s", res.StatusCode, body)
				}
				return ageCell.ReplaceAllString(string(body), `"AGE"`)
			}
			first := read()
			if got := asked(); !slices.Equal(got, []int{count}) {
				t.Errorf("asked for %v objects, want %d at once", got, count)
			}
			if n := strings.Count(first, `"name":"h`); n != count {
				t.Errorf("%d objects: %s", n, first)
			}
			if again := read(); again != first {
				t.Errorf("then it was\n%s, not\n%s", again, first)
			}
			if got := asked(); len(got) > 0 {
				t.Errorf("asked again, for %v objects", got)
			}
			if _, body := w.do("GET", "/metrics", ""); !strings.Contains(string(body), `apiserver_conversion_webhook_request_total{failure_type="",result="success"} 1`) ||
				!strings.Contains(string(body), `apiserver_crd_conversion_webhook_duration_seconds_count{crd_name="hosts.stable.example.com",from_version="v1",succeeded="true",to_version="v2"} 1`) {
				t.Error("the conversion is not in the metrics")
			}
		})
	}
}

// initialEvents are the first events of a watch.
func initialEvents(t *testing.T, w *web, path string, count int) string {
	t.Helper()
	res, err := w.h.Get(w.host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	var all []string
	for len(all) < count && lines.Scan() {
		all = append(all, lines.Text())
	}
	return strings.Join(all, "\n")
}

// hostPortConverter is a webhook that splits and joins the field hostPort; it gives its URL and its authority, in base64. asked tells for how
// many objects it was asked each time since asked was called before.
func hostPortConverter(t *testing.T) (url, ca string, asked func() []int) {
	t.Helper()
	var mu sync.Mutex
	var counts []int
	cert, pem := servertest.Certificate(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		counts = append(counts, len(review.Request.Objects))
		mu.Unlock()
		answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		for _, in := range review.Request.Objects {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(in.Raw); err != nil {
				t.Error(err)
			}
			u.SetAPIVersion(review.Request.DesiredAPIVersion)
			if hostPort, ok := u.Object["hostPort"].(string); ok {
				u.Object["host"], u.Object["port"], _ = strings.Cut(hostPort, ":")
				delete(u.Object, "hostPort")
			} else {
				u.Object["hostPort"] = fmt.Sprint(u.Object["host"], ":", u.Object["port"])
				delete(u.Object, "host")
				delete(u.Object, "port")
			}
			answer.ConvertedObjects = append(answer.ConvertedObjects, runtime.RawExtension{Object: u})
		}
		review.Request, review.Response = nil, answer
		if err := json.NewEncoder(w).Encode(&review); err != nil {
			t.Error(err)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	asked = func() []int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { counts = nil }()
		return counts
	}
	return s.URL, base64.StdEncoding.EncodeToString(pem), asked
}

package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/version"
)

// brief bounds requests that would stay open.
const brief = 20 * time.Millisecond

// throw sends one request into the HTTP door without a socket. It gives nil where net/http would have refused it.
func throw(api *servertest.API, method, target, headers string, body []byte) *httptest.ResponseRecorder {
	raw := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		return nil
	}
	r.Body, r.ContentLength, r.RemoteAddr = io.NopCloser(bytes.NewReader(body)), int64(len(body)), "127.0.0.1:1"
	ctx, cancel := context.WithCancel(context.Background())
	if info := request.Parse(r); info.LongRunning() {
		ctx, cancel = context.WithTimeout(ctx, brief)
	}
	defer cancel()
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, r.WithContext(ctx))
	return w
}

// deep is JSON that nests so many objects.
func deep(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

// garbage are bodies that are almost something.
var garbage = []string{
	"", "null", "[]", "{}", `"`, "\x00", `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}`,
	`{"metadata":{"name":"x","labels":{"a":1}}}`, `{"metadata":{"name":"` + strings.Repeat("x", 300) + `"}}`, `{"metadata":{"managedFields":[{"fieldsV1":{"f:":{}}}]}}`,
	deep(100), deep(10000), `{"data":` + deep(10001) + "}", strings.Repeat("[", 20000), strings.Repeat("- ", 5000) + "x", "a: &a [*a]", "a: &a {b: *a}",
	"\xd9\xd9\xf7\xa2\x64kind\x69ConfigMap\x6aapiVersion\x62v1", // CBOR, which starts with its own mark
	"\xd9\xd9\xf7\x9b\xff\xff\xff\xff\xff\xff\xff\xff",          // a list of CBOR that is too long for anybody
	"k8s\x00", "k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x00\x1a\x00\x22\x00", // protobuf: the mark alone, an empty object
	"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\xff\xff\xff\xff\x0f", // a length beyond the end
	"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x04\x0a\x02\xff\xff", // a cut one within
	"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x03\x0f\x0e\x06",     // wire types that are not used
	"k8s\x00" + strings.Repeat("\x0b", 10000),                            // groups without end
	"k8s\x00\xfa\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
	`[{"op":"add","path":"/data","value":` + deep(10000) + `}]`, `[{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/a"}]`,
	"[" + strings.Repeat(`{"op":"test","path":""},`, 10000) + `{"op":"test","path":""}]`, `[{"op":"move","from":"/a","path":"/a/b"},{"op":"remove","path":"/-"}]`,
	`{"$setElementOrder/x":[],"$patch":"replace","$retainKeys":[1],"$deleteFromPrimitiveList/finalizers":{}}`,
}

// FuzzPipeline sends whatever into the server: it answers, and never that it failed itself.
func FuzzPipeline(f *testing.F) {
	const one, all = "/api/v1/namespaces/default/configmaps/x", "/api/v1/namespaces/default/configmaps"
	types := []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", "application/merge-patch+json",
		"application/json-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain", "a;b=c;;", ""}
	for i, body := range garbage {
		kind := "Content-Type: " + types[i%len(types)]
		f.Add("POST", all+"?fieldValidation=Strict", kind, []byte(body))
		f.Add("PUT", one+"?fieldManager=x", kind, []byte(body))
		f.Add("PATCH", one+"?fieldManager=x&force=true", kind, []byte(body))
		f.Add("DELETE", one, kind, []byte(body))
	}
	for _, t := range types {
		f.Add("POST", all, "Content-Type: "+t, []byte(garbage[6]))
		f.Add("GET", all, "Accept: "+t+";as=Table;v=v1;g=meta.k8s.io", []byte(nil))
	}
	for _, target := range []string{
		"/", "//", "/api", "/apis/", "/apis//v1/x", "/api/v1/namespaces", "/api/v1/namespaces//pods/", "/api/v1/watch/pods?timeoutSeconds=1", "/version", "/openapi/v2",
		"/openapi/v3/apis/apps/v1?hash=x", "/metrics", "/livez?verbose&exclude=x", "/api/v1/pods?limit=-1", "/api/v1/pods?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
		"/api/v1/pods?resourceVersion=99999999999999999999", "/api/v1/pods?watch=1&resourceVersion=x&allowWatchBookmarks=maybe", "/apis/apps/v1/namespaces/default/deployments/x/scale",
		"/api/v1/namespaces/default/serviceaccounts/default/token", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "/api/v1/namespaces/default/pods/x/eviction",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions?pretty=2", "/%2e%2e/%00", "*", "http://x/api/v1/pods",
	} {
		f.Add("GET", target, "Accept-Encoding: gzip", []byte(nil))
		f.Add("POST", target, "Impersonate-User: x\r\nContent-Type: application/json", []byte("{}"))
		f.Add("OPTIONS", target, "Connection: Upgrade\r\nUpgrade: websocket", []byte(nil))
	}
	api := servertest.Start(f, func(c *server.Config) {
		c.Wire = func(_ client.Interface, p *server.Parts) error {
			p.Handlers = openapi.New(p.Table, nil, version.Kubernetes).Handlers()
			return nil
		}
	})
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		if strings.Contains(target, "pprof") {
			return // it takes the time that it is asked to
		}
		w := throw(api, method, target, headers, body)
		if w != nil && w.Code == http.StatusInternalServerError && knownRefusal.Match(w.Body.Bytes()) {
			return
		}
		if w != nil && w.Code >= 500 && w.Code != http.StatusNotImplemented && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusGatewayTimeout {
			t.Fatalf("%s %s, %q, %.200q: %d %s", method, target, headers, body, w.Code, w.Body)
		}
	})
}

// knownRefusal are faults of the client that the API tells of with a 500.
var knownRefusal = regexp.MustCompile(`"message":"(resourceVersion: Invalid value|target\.name: |\[target\.|unknown patch type: |map: map\[|list element types are not|` +
	`The order in patch list|expected a |merging lists cannot yet)`)

// FuzzSelectors lists by whatever selectors: what comes is what apimachinery's own selectors select, or a refusal where those refuse.
func FuzzSelectors(f *testing.F) {
	for _, s := range []string{
		"", "a", "!a", "a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b)", "a,!b,c in (d)", "a in ()", "a>1", "a<1", "a in (b", "a in b)", ",", ",,a", "a=", "=a", "a b",
		"a=b,a!=b", strings.Repeat("a", 64), strings.Repeat("a,", 5000) + "a", "a/b/c=d", "a=\\,b", "a=-", "\x00", "a in (,)", "é=x", "metadata.name=x", "x.example.com/a=b",
	} {
		f.Add(s, "metadata.name="+s)
		f.Add(s, s)
		f.Add("", "status.phase!="+s)
	}
	for _, s := range []string{"spec.nodeName=", "spec.nodeName!=n,status.phase=Running", "nonsense=x", "metadata.namespace=default", "a=b\\,c", "metadata.name=a\\", "=", "metadata.name"} {
		f.Add("a", s)
	}
	api := servertest.Start(f, nil)
	var pods []*corev1.Pod
	for i, l := range []map[string]string{nil, {"a": "b"}, {"a": "c", "b": ""}, {"a": "1"}} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("p", i), Labels: l}}
		p.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
		made, err := client.Pods.Create(f.Context(), api.Admin(), p)
		if err != nil {
			f.Fatal(err)
		}
		pods = append(pods, made)
	}
	f.Fuzz(func(t *testing.T, byLabel, byField string) {
		w := throw(api, "GET", "/api/v1/pods?"+url.Values{"labelSelector": {byLabel}, "fieldSelector": {byField}}.Encode(), "Accept: application/json", nil)
		ls, labelErr := labels.Parse(byLabel)
		fs, fieldErr := fields.ParseSelector(byField)
		switch {
		case w.Code == http.StatusBadRequest:
			if labelErr == nil && fieldErr == nil && !named(fs) {
				return // a field that pods are not selected by
			}
			if labelErr == nil && fieldErr == nil {
				t.Fatalf("%q, %q: %s", byLabel, byField, w.Body)
			}
		case w.Code != http.StatusOK:
			t.Fatalf("%q, %q: %d %s", byLabel, byField, w.Code, w.Body)
		case labelErr != nil || fieldErr != nil:
			t.Fatalf("%q, %q were taken: %v, %v", byLabel, byField, labelErr, fieldErr)
		default:
			want := map[types.UID]bool{}
			for _, p := range pods {
				set := fields.Set{"metadata.name": p.Name, "metadata.namespace": p.Namespace, "spec.nodeName": "", "status.phase": "Pending"}
				if ls.Matches(labels.Set(p.Labels)) && (!named(fs) || fs.Matches(set)) {
					want[p.UID] = true
				}
			}
			var got corev1.PodList
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if !named(fs) {
				return
			}
			for _, p := range got.Items {
				if !want[p.UID] {
					t.Errorf("%q, %q selected %s", byLabel, byField, p.Name)
				}
				delete(want, p.UID)
			}
			if len(want) > 0 {
				t.Errorf("%q, %q left out %v", byLabel, byField, want)
			}
		}
	})
}

// named says whether the selector is by nothing but the fields whose values the test knows.
func named(s fields.Selector) bool {
	for _, r := range s.Requirements() {
		switch r.Field {
		case "metadata.name", "metadata.namespace", "spec.nodeName", "status.phase":
		default:
			return false
		}
	}
	return true
}

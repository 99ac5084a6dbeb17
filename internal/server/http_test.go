package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/servertest"
)

type web struct {
	t    *testing.T
	host string
	h    *http.Client
}

func newWeb(t *testing.T, cfg *rest.Config) *web {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Transport = noGzip{h.Transport}
	return &web{t, cfg.Host, h}
}

// noGzip keeps the transport from asking for compression by itself.
type noGzip struct{ http.RoundTripper }

func (n noGzip) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Accept-Encoding") == "" {
		r.Header.Set("Accept-Encoding", "identity")
	}
	return n.RoundTripper.RoundTrip(r)
}

func (w *web) do(method, path, body string, headers ...string) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.host+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.h.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, data
}

const cmPath = "/api/v1/namespaces/default/configmaps"

func TestHTTPErrors(t *testing.T) {
	w := newWeb(t, servertest.Start(t, nil).REST)
	w.do("POST", cmPath, `{"metadata":{"name":"a"}}`)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		text                     string
	}{
		{"path", "GET", "/nothing", "", nil, 404, "404 page not found"},
		{"group", "GET", "/apis/none.example.com/v1/things", "", nil, 404, "404 page not found"},
		{"resource", "GET", "/api/v1/things", "", nil, 404, "the server could not find the requested resource"},
		{"subresource", "GET", cmPath + "/a/status", "", nil, 404, `"message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404`},
		{"object", "GET", cmPath + "/none", "", nil, 404, `configmaps \"none\" not found`},
		{"method", "PUT", cmPath, "{}", nil, 405, "the server does not allow this method on the requested resource"},
		{"method of a virtual kind", "GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", nil, 405, "MethodNotAllowed"},
		{"create without namespace", "POST", "/api/v1/configmaps", `{}`, nil, 405, "MethodNotAllowed"},
		{"accept", "GET", cmPath + "/a", "", []string{"Accept", "text/html"}, 406, "406: Not Acceptable\\n\\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"content type", "POST", cmPath, "x", []string{"Content-Type", "text/plain"}, 415, "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"syntax", "POST", cmPath, "{", nil, 400, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)"},
		{"syntax of YAML", "POST", cmPath, "a: b: c", []string{"Content-Type", "application/yaml"}, 400, "the object provided is unrecognized (must be of type ConfigMap)"},
		{"merge patch of a list", "PATCH", cmPath + "/a", "[1]", []string{"Content-Type", "application/merge-patch+json"}, 400, "error decoding patch: json: cannot unmarshal array"},
		{"merge patch that is not JSON", "PATCH", cmPath + "/a", "{", []string{"Content-Type", "application/merge-patch+json"}, 400, "invalid JSON patch"},
		{"merge patch of nothing", "PATCH", cmPath + "/a", "null", []string{"Content-Type", "application/merge-patch+json"}, 400, "Invalid JSON Patch"},
		{"JSON patch that is no list", "PATCH", cmPath + "/a", "{}", []string{"Content-Type", "application/json-patch+json"}, 400, "cannot unmarshal object into Go value of type []handlers.jsonPatchOp"},
		{"JSON patch of an unknown operation", "PATCH", cmPath + "/a", `[{"op":"x","path":"/a"}]`, []string{"Content-Type", "application/json-patch+json"}, 422, "the server rejected our request due to an error in our request"},
		{"too many operations", "PATCH", cmPath + "/a", "[" + strings.Repeat(`{"op":"add","path":"/data/a","value":"b"},`, 10000) + `{"op":"remove","path":"/data/a"}]`, []string{"Content-Type", "application/json-patch+json"}, 413, "The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{"annotations too large", "PATCH", cmPath + "/a", `{"metadata":{"annotations":{"a":"` + strings.Repeat("x", 256<<10) + `"}}}`, []string{"Content-Type", "application/merge-patch+json"}, 422, "metadata.annotations: Too long: may not be more than 262144 bytes"},
		{"deep JSON", "POST", cmPath, strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), nil, 400, "exceeded max depth"},
		{"deep patch", "PATCH", cmPath + "/a", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), []string{"Content-Type", "application/merge-patch+json"}, 400, "invalid JSON patch"},
		{"too large a patch", "PATCH", cmPath + "/a", `{"data":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`, []string{"Content-Type", "application/merge-patch+json"}, 413, "RequestEntityTooLarge"},
		{"name of a path", "GET", cmPath + "/..", "", nil, 400, `Name parameter invalid: \"..\": may not be '..'`},
		{"name before existence", "PUT", cmPath + "/none", `{"metadata":{"name":"b"}}`, nil, 400, "the name of the object (b) does not match the name on the URL (none)"},
		{"apply with the UID of nothing", "PATCH", cmPath + "/none?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"none","uid":"x"}}`, []string{"Content-Type", "application/apply-patch+yaml"}, 409, "uid mismatch: the provided object specified uid x, and no existing object was found"},
		{"delete of another UID", "DELETE", cmPath + "/a", `{"preconditions":{"uid":"x"}}`, nil, 409, `Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match`},
		{"patch to a wrong type", "PATCH", cmPath + "/a", `{"data":{"x":1}}`, []string{"Content-Type", "application/merge-patch+json"}, 422, `\"\" is invalid: patch: Invalid value: \"{`},
		{"other kind", "POST", cmPath, `{"kind":"Secret","apiVersion":"v1"}`, nil, 400, `Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion`},
		{"other version", "POST", cmPath, `{"kind":"ConfigMap","apiVersion":"v2"}`, nil, 400, `ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"v2\"`},
		{"namespace", "POST", cmPath, `{"metadata":{"name":"b","namespace":"other"}}`, nil, 400, "the namespace of the provided object does not match the namespace sent on the request"},
		{"name", "PUT", cmPath + "/a", `{"metadata":{"name":"b"}}`, nil, 400, "the name of the object (b) does not match the name on the URL (a)"},
		{"strict", "POST", cmPath + "?fieldValidation=Strict", `{"metadata":{"name":"b"},"spec":{},"x":1}`, nil, 400, `ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"spec\", unknown field \"x\"`},
		{"validation level", "POST", cmPath + "?fieldValidation=Some", `{"metadata":{"name":"b"}}`, nil, 422, "Unsupported value"},
		{"dry run", "POST", cmPath + "?dryRun=Some", `{"metadata":{"name":"b"}}`, nil, 422, "Unsupported value"},
		{"too large", "POST", cmPath, `{"data":{"x":"` + strings.Repeat("x", 3<<20) + `"}}`, nil, 413, "RequestEntityTooLarge"},
		{"label selector", "GET", cmPath + "?labelSelector=a%3D%3D%3Db", "", nil, 400, "BadRequest"},
		{"field selector", "GET", cmPath + "?fieldSelector=x%3Dy", "", nil, 400, `\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"`},
		{"version match", "GET", cmPath + "?resourceVersionMatch=Exact", "", nil, 422, "resourceVersionMatch"},
		{"continue", "GET", cmPath + "?continue=x", "", nil, 400, "continue key is not valid"},
		{"version", "GET", cmPath + "?resourceVersion=x", "", nil, 400, "resource version"},
		{"future", "GET", cmPath + "/a?resourceVersion=99999999", "", nil, 504, "Too large resource version: 99999999"},
		{"patch type", "PATCH", cmPath + "/a", "{}", []string{"Content-Type", "application/json"}, 415, "415: Unsupported Media Type"},
		{"unsafe deletion of what can be read", "DELETE", cmPath + "/a?ignoreStoreReadErrorWithClusterBreakingPotential=true", "", nil, 409, "unsafe deletion is not allowed because the object is decodable from storage"},
		{"unsafe deletion of many", "DELETE", cmPath + "?ignoreStoreReadErrorWithClusterBreakingPotential=true", "", nil, 422, "is not allowed with DELETECOLLECTION"},
		{"table of a review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", `{"spec":{}}`, []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, 406, "NotAcceptable"},
		{"delete policy", "DELETE", cmPath + "/a?propagationPolicy=Foreground&orphanDependents=true", "", nil, 422, "orphanDependents"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := (&web{t, w.host, w.h}).do(c.method, c.path, c.body, c.headers...)
			if res.StatusCode != c.code || !bytes.Contains(body, []byte(c.text)) {
				t.Errorf("%d %s, want %d with %q", res.StatusCode, body, c.code, c.text)
			}
			if !strings.HasPrefix(c.text, "404 page") {
				var s metav1.Status
				if err := json.Unmarshal(body, &s); err != nil || s.Kind != "Status" || s.APIVersion != "v1" || int(s.Code) != c.code || s.Status != "Failure" {
					t.Errorf("no status: %s", body)
				}
			}
		})
	}
}

func TestHTTPForms(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	res, body := w.do("POST", cmPath, "metadata:\n  name: a\n  labels: {x: yes1}\ndata: {k: v}\nspec: 1\n", "Content-Type", "application/yaml")
	if res.StatusCode != 201 || res.Header.Get("Warning") != `299 - "unknown field \"spec\""` {
		t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if res.Header.Get("Audit-Id") == "" || res.ProtoMajor != 2 {
		t.Errorf("%s %v", res.Proto, res.Header)
	}
	t.Run("yaml", func(t *testing.T) {
		res, body := w.do("GET", cmPath+"/a", "", "Accept", "application/yaml")
		if res.Header.Get("Content-Type") != "application/yaml" || !strings.Contains(string(body), "\n  k: v\n") {
			t.Errorf("%v %s", res.Header, body)
		}
	})
	t.Run("pretty", func(t *testing.T) {
		if _, body := w.do("GET", cmPath+"/a?pretty=true", ""); !strings.HasPrefix(string(body), "{\n  \"kind\": \"ConfigMap\",\n") {
			t.Errorf("%s", body)
		}
	})
	t.Run("items without kind", func(t *testing.T) {
		_, body := w.do("GET", cmPath, "")
		var l corev1.ConfigMapList
		if err := json.Unmarshal(body, &l); err != nil || l.Kind != "ConfigMapList" || l.ResourceVersion == "" || len(l.Items) == 0 || l.Items[0].Kind != "" || l.Items[0].Data["k"] != "v" {
			t.Errorf("%v %s", err, body)
		}
	})
	t.Run("protobuf list", func(t *testing.T) {
		_, body := w.do("GET", cmPath, "", "Accept", "application/vnd.kubernetes.protobuf")
		obj, _, err := codec.Decode(body, codec.Protobuf, nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		l, ok := obj.(*corev1.ConfigMapList)
		if !ok || l.ResourceVersion == "" || len(l.Items) == 0 || l.Items[0].Data["k"] != "v" {
			t.Errorf("%+v", obj)
		}
	})
	t.Run("table", func(t *testing.T) {
		_, body := w.do("GET", cmPath, "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
		var tab metav1.Table
		if err := json.Unmarshal(body, &tab); err != nil || tab.Kind != "Table" || tab.APIVersion != "meta.k8s.io/v1" || len(tab.ColumnDefinitions) == 0 || len(tab.Rows) == 0 || tab.Rows[0].Cells[0] != "a" || len(tab.Rows[0].Object.Raw) == 0 {
			t.Errorf("%v %s", err, body)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		_, body := w.do("GET", cmPath, "", "Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
		var l metav1.PartialObjectMetadataList
		if err := json.Unmarshal(body, &l); err != nil || l.Kind != "PartialObjectMetadataList" || len(l.Items) == 0 || l.Items[0].Labels["x"] != "yes1" {
			t.Errorf("%v %s", err, body)
		}
	})
	t.Run("gzip", func(t *testing.T) {
		w.do("POST", cmPath, `{"metadata":{"name":"big"},"data":{"x":"`+strings.Repeat("0123456789", 20000)+`"}}`)
		res, body := w.do("GET", cmPath, "", "Accept-Encoding", "gzip")
		if res.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v", res.Header)
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var l corev1.ConfigMapList
		if err := json.NewDecoder(z).Decode(&l); err != nil || len(l.Items) < 2 {
			t.Error(err, len(l.Items))
		}
	})
	t.Run("delete", func(t *testing.T) {
		res, body := w.do("DELETE", cmPath+"/big", "")
		var s metav1.Status
		if err := json.Unmarshal(body, &s); err != nil || res.StatusCode != 200 || s.Status != "Success" || s.Details.Kind != "configmaps" || s.Details.UID == "" {
			t.Errorf("%v %s", err, body)
		}
	})
}

func TestHTTPDiscovery(t *testing.T) {
	w := newWeb(t, servertest.Start(t, nil).REST)
	get := func(path string, into any, headers ...string) *http.Response {
		t.Helper()
		res, body := w.do("GET", path, "", headers...)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, res.StatusCode, body)
		}
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return res
	}
	var versions metav1.APIVersions
	get("/api", &versions)
	if len(versions.Versions) != 1 || versions.Kind != "APIVersions" {
		t.Errorf("%+v", versions)
	}
	var groups metav1.APIGroupList
	get("/apis/", &groups)
	for _, g := range groups.Groups {
		var one metav1.APIGroup
		get("/apis/"+g.Name, &one)
		get("/apis/"+g.Name+"/", &one)
		if one.PreferredVersion != g.PreferredVersion {
			t.Errorf("%+v", one)
		}
		for _, v := range g.Versions {
			var l metav1.APIResourceList
			get("/apis/"+v.GroupVersion, &l)
			if len(l.APIResources) == 0 || l.GroupVersion != v.GroupVersion {
				t.Errorf("%+v", l)
			}
		}
	}
	accept := "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
	var agg map[string]any
	res := get("/apis", &agg, "Accept", accept)
	if agg["kind"] != "APIGroupDiscoveryList" || agg["apiVersion"] != "apidiscovery.k8s.io/v2" || len(agg["items"].([]any)) != len(groups.Groups) {
		t.Errorf("%v", agg)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
		t.Error(ct)
	}
	if again, _ := w.do("GET", "/apis", "", "Accept", accept, "If-None-Match", res.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("with the ETag: %d", again.StatusCode)
	}
	var v map[string]string
	get("/version", &v)
	if v["major"] != "1" || v["minor"] != "37" {
		t.Errorf("%v", v)
	}
	for _, p := range []string{"/healthz", "/livez", "/readyz", "/readyz/etcd", "/livez/ping", "/readyz?verbose&exclude=etcd"} {
		if res, body := w.do("GET", p, ""); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", p, res.StatusCode, body)
		}
	}
	if _, body := w.do("GET", "/metrics", ""); !bytes.Contains(body, []byte(`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="",scope="",subresource="/version",verb="GET",version=""} 1`)) {
		t.Errorf("%s", body)
	}
}

func TestHTTPWatch(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	for _, n := range []string{"a", "b"} {
		w.do("POST", cmPath, `{"metadata":{"name":"`+n+`"}}`)
	}
	for name, c := range map[string]struct{ path, accept, want string }{
		"frames":         {cmPath + "?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da", "", `{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"`},
		"old path":       {"/api/v1/watch/namespaces/default/configmaps/b?timeoutSeconds=1", "", `{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"b"`},
		"table":          {cmPath + "?watch=1&timeoutSeconds=1", "application/json;as=Table;v=v1;g=meta.k8s.io", `{"type":"ADDED","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1"`},
		"metadata":       {cmPath + "?watch=1&timeoutSeconds=1", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", `{"type":"ADDED","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1"`},
		"initial events": {cmPath + "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=none", "", `{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"`},
		"wrong options":  {cmPath + "?watch=1&sendInitialEvents=true", "", `resourceVersionMatch`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, body := (&web{t, w.host, w.h}).do("GET", c.path, "", "Accept", c.accept)
			line, _ := bufio.NewReader(bytes.NewReader(body)).ReadString('\n')
			if !strings.Contains(line, c.want) {
				t.Errorf("got %s want %s", body, c.want)
			}
		})
	}
}

func TestPodLife(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	ctx := t.Context()
	admin := api.Admin()
	pods := "/api/v1/namespaces/default/pods"
	pod := func(name string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`, name)
	}
	expect := func(code int, res *http.Response, body []byte) {
		t.Helper()
		if res.StatusCode != code {
			t.Fatalf("%d, want %d: %s", res.StatusCode, code, body)
		}
	}
	res, body := w.do("POST", pods, pod("p"))
	expect(201, res, body)
	binding := `{"metadata":{"name":"p","annotations":{"why":"test"}},"target":{"kind":"Node","name":"n1"}}`
	res, body = w.do("POST", pods+"/p/binding", binding)
	expect(201, res, body)
	if !bytes.Contains(body, []byte(`"status":"Success"`)) {
		t.Errorf("%s", body)
	}
	res, body = w.do("POST", pods+"/p/binding", binding)
	expect(409, res, body)
	got, err := client.Pods.Get(ctx, admin, "default", "p")
	if err != nil || got.Spec.NodeName != "n1" || got.Annotations["why"] != "test" {
		t.Fatal(got, err)
	}
	res, body = w.do("PATCH", pods+"/p/status", `{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`, "Content-Type", "application/strategic-merge-patch+json")
	expect(200, res, body)

	res, body = w.do("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", `{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}}`)
	expect(201, res, body)
	eviction := `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}}`
	res, body = w.do("POST", pods+"/p/eviction", eviction)
	expect(429, res, body)
	if !bytes.Contains(body, []byte(`"reason":"DisruptionBudget"`)) {
		t.Errorf("%s", body)
	}
	res, body = w.do("PATCH", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b/status", `{"status":{"observedGeneration":1,"disruptionsAllowed":1,"currentHealthy":2,"desiredHealthy":1,"expectedPods":2}}`, "Content-Type", "application/merge-patch+json")
	expect(200, res, body)
	res, body = w.do("POST", pods+"/p/eviction", eviction)
	expect(201, res, body)
	got, err = client.Pods.Get(ctx, admin, "default", "p")
	if err != nil || got.DeletionTimestamp == nil || *got.DeletionGracePeriodSeconds != 30 {
		t.Fatalf("an evicted pod keeps its grace period: %+v %v", got, err)
	}
	if c := got.Status.Conditions[len(got.Status.Conditions)-1]; c.Type != corev1.DisruptionTarget || c.Reason != "EvictionByEvictionAPI" {
		t.Fatalf("an evicted pod says why it ends: %+v", got.Status.Conditions)
	}
	res, body = w.do("DELETE", pods+"/p?gracePeriodSeconds=0", "")
	expect(200, res, body)
	res, body = w.do("GET", pods+"/p", "")
	expect(404, res, body)

	res, body = w.do("POST", pods, pod("unscheduled"))
	expect(201, res, body)
	res, body = w.do("DELETE", pods+"/unscheduled", "")
	expect(200, res, body)
	res, body = w.do("GET", pods+"/unscheduled", "")
	expect(404, res, body)
}

func TestScaleAndFinalize(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	expect := func(code int, res *http.Response, body []byte, text string) {
		t.Helper()
		if res.StatusCode != code || !bytes.Contains(body, []byte(text)) {
			t.Fatalf("%d, want %d with %s: %s", res.StatusCode, code, text, body)
		}
	}
	deployments := "/apis/apps/v1/namespaces/default/deployments"
	res, body := w.do("POST", deployments, `{"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`)
	expect(201, res, body, `"replicas":2`)
	res, body = w.do("GET", deployments+"/d/scale", "")
	expect(200, res, body, `"spec":{"replicas":2},"status":{"replicas":0,"selector":"a=b"}`)
	res, body = w.do("PATCH", deployments+"/d/scale", `{"spec":{"replicas":5}}`, "Content-Type", "application/merge-patch+json")
	expect(200, res, body, `"kind":"Scale","apiVersion":"autoscaling/v1"`)
	res, body = w.do("GET", deployments+"/d", "")
	expect(200, res, body, `"replicas":5`)

	res, body = w.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"x"},"spec":{"finalizers":["kubernetes"]}}`)
	expect(201, res, body, "")
	res, body = w.do("DELETE", "/api/v1/namespaces/x", "")
	expect(200, res, body, `"phase":"Terminating"`)
	res, body = w.do("PUT", "/api/v1/namespaces/x/finalize", `{"metadata":{"name":"x"},"spec":{}}`)
	expect(200, res, body, "")
	res, body = w.do("GET", "/api/v1/namespaces/x", "")
	expect(404, res, body, "")
}

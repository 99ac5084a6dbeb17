package aggregate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/aggregate"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/servertest"
)

var (
	apiServices = client.Resource[*apiregistrationv1.APIService]{GVR: apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")}
	definitions = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}
)

// extension is an API server that knows one kind, and tells on it who asked.
func extension(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/apis/wardle.example.com/v1":
		fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"wardle.example.com/v1","resources":[{"name":"flunders","singularName":"flunder","namespaced":true,"kind":"Flunder","verbs":["get","list","watch"]}]}`)
	case "/apis/wardle.example.com/v1/namespaces/default/flunders":
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprintf(w, "%s of %s by %q", r.Method, r.Header.Values("X-Remote-User"), r.Header.Get("Authorization"))
			return
		}
		fmt.Fprintln(w, "first")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case "/apis/wardle.example.com/v1/namespaces/default/flunders/one":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"Flunder","apiVersion":"wardle.example.com/v1","metadata":{"name":"one","namespace":"default","annotations":{"by":%q}}}`, r.Header.Get("X-Remote-User"))
	case "/apis/wardle.example.com/v1/namespaces/default/flunders/one/shout":
		shout(w, r)
	case "/apis/wardle.example.com/v1/namespaces/default/flunders/away":
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	case "/openapi/v3":
		fmt.Fprint(w, `{"paths":{"apis/wardle.example.com/v1":{"serverRelativeURL":"/openapi/v3/apis/wardle.example.com/v1?hash=1"}}}`)
	case "/openapi/v3/apis/wardle.example.com/v1":
		fmt.Fprint(w, `{"openapi":"3.0.0"}`)
	case "/openapi/v2":
		fmt.Fprint(w, `{"swagger":"2.0","info":{"title":"x","version":"1"},"paths":{"/apis/wardle.example.com/v1/flunders":{"get":{"responses":{"200":{"description":"OK","schema":{"$ref":"#/definitions/example.Flunder"}}}}},"/other/":{"get":{"responses":{"200":{"description":"OK","schema":{"$ref":"#/definitions/unused"}}}}}},"definitions":{"example.Flunder":{"type":"object"},"unused":{}}}`)
	default:
		http.NotFound(w, r)
	}
}

// shout switches protocols, and then says loudly what it is told, line by line, to whom asked.
func shout(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "shouting/1" {
		http.Error(w, "shouting needs an upgrade", http.StatusUpgradeRequired)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shouting/1\r\n\r\n")
	for err = rw.Flush(); err == nil; err = rw.Flush() {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprintf(rw, "%s: %s", r.Header.Get("X-Remote-User"), strings.ToUpper(line))
	}
}

// testUpgrade talks to the extension in a protocol that is not HTTP, through the aggregating server.
func testUpgrade(t *testing.T, cfg *rest.Config, path string) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tlsConfig.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(cfg.Host, "https://"), tlsConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cfg.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "shouting/1")
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", res.Status)
	}
	for _, word := range []string{"hello", "again"} {
		fmt.Fprintln(conn, word)
		if got, err := from.ReadString('\n'); err != nil || got != "system:anonymous: "+strings.ToUpper(word)+"\n" {
			t.Errorf("said %s, heard %q: %v", word, got, err)
		}
	}
}

func TestAggregation(t *testing.T) {
	var a *aggregate.Aggregator
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = func(own client.Interface, p *server.Parts) error {
			a = aggregate.New(aggregate.Config{API: own, Table: p.Table})
			p.Delegate, p.Groups, p.Background = a.Delegate, a.Groups, append(p.Background, a.Run)
			p.Handlers = openapi.New(p.Table, a, "v1").Handlers()
			return nil
		}
	})
	get := getter(t, api.REST)
	c := api.Admin()
	s := httptest.NewTLSServer(http.HandlerFunc(extension))
	t.Cleanup(s.Close)
	number := portOf(t, s.URL)

	t.Run("local", func(t *testing.T) { testLocal(t, c) })

	const group = "/apis/wardle.example.com/v1"
	if code, _ := get(group); code != 404 {
		t.Errorf("nobody serves it yet: %d", code)
	}
	_, err := apiServices.Create(t.Context(), c, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.wardle.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "wardle.example.com", Version: "v1", GroupPriorityMinimum: 2000, VersionPriority: 200, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "sample", Port: ptr.To(number)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, "v1.wardle.example.com", metav1.ConditionFalse, "ServiceNotFound")
	if code, body := get(group + "/flunders"); code != 503 || !strings.Contains(body, "service unavailable") {
		t.Errorf("without a service: %d %s", code, body)
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	if _, err := client.Services.Create(t.Context(), c, svc); err != nil {
		t.Fatal(err)
	}
	await(t, c, "v1.wardle.example.com", metav1.ConditionTrue, "Passed")
	for path, want := range map[string]string{
		group: `"flunders"`, "/apis": `"wardle.example.com"`, "/apis/wardle.example.com": `"wardle.example.com/v1"`,
		group + "/namespaces/default/flunders":      `GET of [system:anonymous] by ""`,
		group + "/namespaces/default/flunders/away": "attempted to redirect",
		"/openapi/v3":          `"serverRelativeURL":"/openapi/v3/apis/wardle.example.com/v1?hash=1"`,
		"/openapi/v3" + group:  `{"openapi":"3.0.0"}`,
		"/openapi/v2":          `"example.Flunder"`,
		"/apis?aggregated=yes": `"resource":"flunders"`,
	} {
		if _, body := get(path); !strings.Contains(body, want) {
			t.Errorf("%s: %.300s, want %s", path, body, want)
		}
	}
	if _, body := get("/openapi/v2"); strings.Contains(body, "/other/") || strings.Contains(body, `"unused"`) {
		t.Error("more of the other server's OpenAPI than its group version is there")
	}
	if _, body := get(group + "/namespaces/default/flunders?watch=true"); body != "first\n" {
		t.Errorf("a watch: %q", body)
	}
	testUpgrade(t, api.REST, group+"/namespaces/default/flunders/one/shout")
	// Roles of the same process reach it as themselves.
	flunders := client.GVR{Group: "wardle.example.com", Version: "v1", Resource: "flunders"}
	one, err := c.Get(t.Context(), flunders, "default", "one", metav1.GetOptions{})
	if err != nil || one.GetAnnotations()["by"] == "" || one.GetAnnotations()["by"] == "system:anonymous" {
		t.Errorf("through the direct door: %v %v", one, err)
	}
	if _, err := c.Get(t.Context(), flunders, "default", "two", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("through the direct door, one that is not there: %v", err)
	}
	if err := client.Services.Delete(t.Context(), c, "default", "sample"); err != nil {
		t.Fatal(err)
	}
	await(t, c, "v1.wardle.example.com", metav1.ConditionFalse, "ServiceNotFound")
	if _, body := get("/apis?aggregated=yes"); !strings.Contains(body, `"freshness":"Stale"`) {
		t.Error("discovery does not tell that the group is stale")
	}
	if err := apiServices.Delete(t.Context(), c, "", "v1.wardle.example.com"); err != nil {
		t.Fatal(err)
	}
	until(t, "requests are still passed on", func() bool { code, _ := get(group); return code == 404 })
}

// testLocal has the APIServices of what the server serves itself: they are there, come back, and follow custom resources.
func testLocal(t *testing.T, c client.Interface) {
	await(t, c, "v1.apps", metav1.ConditionTrue, "Local")
	if err := apiServices.Delete(t.Context(), c, "", "v1.apps"); err != nil {
		t.Fatal(err)
	}
	await(t, c, "v1.apps", metav1.ConditionTrue, "Local")
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "tabs.example.com"}, Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: "Namespaced", Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "tabs", Kind: "Tab"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}}}},
	}}
	if _, err := definitions.Create(t.Context(), c, crd); err != nil {
		t.Fatal(err)
	}
	await(t, c, "v1.example.com", metav1.ConditionTrue, "Local")
	if err := definitions.Delete(t.Context(), c, "", crd.Name); err != nil {
		t.Fatal(err)
	}
	until(t, "the APIService of a definition that is gone stays", func() bool {
		_, err := apiServices.Get(t.Context(), c, "", "v1.example.com")
		return apierrors.IsNotFound(err)
	})
}

func await(t *testing.T, c client.Interface, name string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	var last string
	ok := func() bool {
		s, err := apiServices.Get(t.Context(), c, "", name)
		if err != nil {
			last = err.Error()
			return false
		}
		last = fmt.Sprintf("%+v", s.Status.Conditions)
		return len(s.Status.Conditions) == 1 && string(s.Status.Conditions[0].Status) == string(status) && s.Status.Conditions[0].Reason == reason
	}
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s is not %s: %s", name, reason, last)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// getter asks as nobody; a watch is read to its first line.
func getter(t *testing.T, cfg *rest.Config) func(path string) (int, string) {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "aggregated=yes") {
			req.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		}
		res, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if strings.Contains(path, "watch=") {
			line := make([]byte, 6)
			if _, err := io.ReadFull(res.Body, line); err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(line)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if json.Valid(body) {
			return res.StatusCode, strings.ReplaceAll(string(body), ": ", ":")
		}
		return res.StatusCode, string(body)
	}
}

func portOf(t *testing.T, address string) int32 {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(u.Port(), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

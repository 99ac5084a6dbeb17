package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

var definitions = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}

const (
	crdPath  = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	tabsPath = "/apis/stable.example.com/v1/namespaces/default/crontabs"
)

const cronTabs = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"crontabs.stable.example.com"},
"spec":{"group":"stable.example.com","scope":"Namespaced","names":{"plural":"crontabs","singular":"crontab","kind":"CronTab","shortNames":["ct"]},
"versions":[{"name":"v1","served":true,"storage":true,
"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas","labelSelectorPath":".status.selector"}},
"additionalPrinterColumns":[{"name":"Spec","type":"string","jsonPath":".spec.cronSpec"},{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}],
"selectableFields":[{"jsonPath":".spec.cronSpec"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","required":["cronSpec"],"x-kubernetes-validations":[{"rule":"self.replicas <= 10","message":"too many"}],"properties":{
"cronSpec":{"type":"string","pattern":"^\\S+$"},"image":{"type":"string","default":"img:1"},"replicas":{"type":"integer","default":1},
"bars":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"age":{"type":"integer"}}}}}},
"status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}}},
{"name":"v2","served":true,"storage":false,"deprecated":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

// TestDefinitionsInProtobuf asks for definitions, which are stored as JSON, in protobuf: the answer to a write, a state and a list.
func TestDefinitionsInProtobuf(t *testing.T) {
	api := servertest.Start(t, nil)
	for _, ask := range []struct {
		method, path string
		body         []byte
		want         int
	}{{"POST", crdPath, []byte(cronTabs), 201}, {"GET", crdPath + "/crontabs.stable.example.com", nil, 200}, {"GET", crdPath, nil, 200}} {
		res := throw(api, ask.method, ask.path, "Content-Type: application/json\r\nAccept: application/vnd.kubernetes.protobuf", ask.body)
		body := res.Body.Bytes()
		if res.Code != ask.want || !bytes.HasPrefix(body, []byte("k8s\x00")) || !bytes.Contains(body, []byte("crontabs.stable.example.com")) {
			t.Errorf("%s %s: %d %q", ask.method, ask.path, res.Code, body)
		}
	}
}

// establish makes a definition and waits until it says that it is served.
func establish(t *testing.T, api *servertest.API, w *web, definition string) {
	t.Helper()
	if res, body := w.do("POST", crdPath, definition); res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	var c apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal([]byte(definition), &c); err != nil {
		t.Fatal(err)
	}
	awaitDefinition(t, api, c.Name, func(c *apiextensionsv1.CustomResourceDefinition) bool {
		for _, cond := range c.Status.Conditions {
			if cond.Type == apiextensionsv1.Established && cond.Status == apiextensionsv1.ConditionTrue {
				return true
			}
		}
		return false
	})
}

// awaitDefinition watches a definition until it is as wanted; nil stands for its deletion.
func awaitDefinition(t *testing.T, api *servertest.API, name string, want func(*apiextensionsv1.CustomResourceDefinition) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := api.Admin().Watch(ctx, definitions.GVR, "", metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		c, _ := e.Object.(*apiextensionsv1.CustomResourceDefinition)
		if e.Type == watch.Deleted {
			c = nil
		}
		if want(c) {
			return
		}
	}
	t.Fatalf("the definition %s did not become as wanted", name)
}

func TestCustomResources(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	establish(t, api, w, cronTabs)
	object := func(extra string) string {
		return `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"cronSpec":"x"` + extra + `}}`
	}
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		text                     string
	}{
		{"unknown field, strict", "POST", tabsPath + "?fieldValidation=Strict", object(`,"foo":1,"replicas":1,"replicas":2`), nil, 400, `CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: duplicate field \"spec.replicas\", unknown field \"spec.foo\"`},
		{"metadata of a wrong type", "POST", tabsPath, `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"a","labels":3},"spec":{"cronSpec":"x"}}`, nil, 400, "labels"},
		{"pattern", "POST", tabsPath, object(`,"cronSpec":"a b"`), nil, 422, `spec.cronSpec: Invalid value`},
		{"rule", "POST", tabsPath, object(`,"replicas":11`), nil, 422, "too many"},
		{"required", "POST", tabsPath, object(`,"bars":[{"age":1}]`), nil, 422, "spec.bars[0].name: Required value"},
		{"list map", "POST", tabsPath, object(`,"bars":[{"name":"x"},{"name":"x"}]`), nil, 422, `spec.bars[1]: Duplicate value`},
		{"protobuf", "GET", tabsPath, "", []string{"Accept", "application/vnd.kubernetes.protobuf"}, 406, "application/json, application/yaml"},
		{"create", "POST", tabsPath, object(`,"foo":1`), nil, 201, `"image":"img:1","replicas":1`},
		{"again", "POST", tabsPath, object(``), nil, 409, "AlreadyExists"},
		{"default", "GET", tabsPath + "/a", "", nil, 200, `"generation":1`},
		{"other version", "GET", strings.Replace(tabsPath, "v1", "v2", 1) + "/a", "", nil, 200, `"apiVersion":"stable.example.com/v2"`},
		{"scale of a version without", "GET", strings.Replace(tabsPath, "v1", "v2", 1) + "/a/scale", "", nil, 404, ""},
		{"strategic merge patch", "PATCH", tabsPath + "/a", `{}`, []string{"Content-Type", "application/strategic-merge-patch+json"}, 415, "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"},
		{"merge patch", "PATCH", tabsPath + "/a", `{"spec":{"replicas":2},"status":{"replicas":9}}`, []string{"Content-Type", "application/merge-patch+json"}, 200, `"generation":2`},
		{"status", "PATCH", tabsPath + "/a/status", `{"spec":{"replicas":7},"status":{"replicas":1,"selector":"a=b"}}`, []string{"Content-Type", "application/merge-patch+json"}, 200, `"spec":{"cronSpec":"x","image":"img:1","replicas":2},"status":{"replicas":1,"selector":"a=b"}`},
		{"scale", "GET", tabsPath + "/a/scale", "", nil, 200, `"spec":{"replicas":2},"status":{"replicas":1,"selector":"a=b"}`},
		{"scale up", "PATCH", tabsPath + "/a/scale", `{"spec":{"replicas":5}}`, []string{"Content-Type", "application/merge-patch+json"}, 200, `"replicas":5`},
		{"field selector", "GET", tabsPath + "?fieldSelector=spec.cronSpec%3Dx", "", nil, 200, `"name":"a"`},
		{"field selector of another version", "GET", strings.Replace(tabsPath, "v1", "v2", 1) + "?fieldSelector=spec.cronSpec%3Dx", "", nil, 400, "field label not supported: spec.cronSpec"},
		{"update without version", "PUT", tabsPath + "/a", object(``), nil, 422, "metadata.resourceVersion: Invalid value: 0: must be specified for an update"},
		{"table", "GET", tabsPath, "", []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, 200, `"cells":["a","x",5]`},
		{"apply of an unknown field", "PATCH", tabsPath + "/b?fieldManager=m", strings.Replace(object(`,"foo":1`), `"a"`, `"b"`, 1), []string{"Content-Type", "application/apply-patch+yaml"}, 500, ".spec.foo: field not declared in schema"},
		{"apply", "PATCH", tabsPath + "/b?fieldManager=m", strings.Replace(object(`,"bars":[{"name":"x"}]`), `"a"`, `"b"`, 1), []string{"Content-Type", "application/apply-patch+yaml"}, 201, `k:{\"name\":\"x\"}`},
		{"apply by another", "PATCH", tabsPath + "/b?fieldManager=n", strings.Replace(object(`,"bars":[{"name":"y"}]`), `"a"`, `"b"`, 1), []string{"Content-Type", "application/apply-patch+yaml"}, 200, `"bars":[{"name":"x"},{"name":"y"}]`},
		{"discovery", "GET", "/apis/stable.example.com/v1", "", nil, 200, `"crontabs/scale"`},
		{"OpenAPI", "GET", "/openapi/v3/apis/stable.example.com/v1", "", nil, 404, ""}, // served by the role
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := (&web{t, w.host, w.h}).do(c.method, c.path, c.body, c.headers...)
			text := strings.NewReplacer(`\\\"`, `\"`).Replace(string(body))
			if c.name == "apply" {
				text = strings.ReplaceAll(string(body), `\\"`, `\"`)
			}
			if res.StatusCode != c.code || !strings.Contains(text, c.text) {
				t.Errorf("%d %s\nwant %d with %s", res.StatusCode, body, c.code, c.text)
			}
		})
	}
	if res, _ := w.do("GET", strings.Replace(tabsPath, "v1", "v2", 1), ""); !strings.Contains(res.Header.Get("Warning"), "stable.example.com/v2 CronTab is deprecated") {
		t.Errorf("no warning of a deprecated version: %v", res.Header)
	}
}

func TestCustomResourceVersions(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	establish(t, api, w, cronTabs)
	if res, body := w.do("POST", tabsPath, `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"cronSpec":"x"}}`); res.StatusCode != 201 {
		t.Fatalf("%s", body)
	}
	// A watch of an object that was made a moment ago must find the changes after it.
	obj, err := api.Admin().Get(context.Background(), client.GVR{Group: "stable.example.com", Version: "v1", Resource: "crontabs"}, "default", "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	events, err := api.Admin().Watch(ctx, client.GVR{Group: "stable.example.com", Version: "v2", Resource: "crontabs"}, "", metav1.ListOptions{ResourceVersion: obj.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	w.do("PATCH", tabsPath+"/a", `{"metadata":{"labels":{"x":"y"}}}`, "Content-Type", "application/merge-patch+json")
	e := <-events.ResultChan()
	if u, ok := e.Object.(*unstructured.Unstructured); !ok || e.Type != watch.Modified || u.GetAPIVersion() != "stable.example.com/v2" || u.GetLabels()["x"] != "y" {
		t.Fatalf("%+v", e)
	}
	// The storage version moves on; what was stored before is still there, and v1 goes.
	if res, body := w.do("PATCH", crdPath+"/crontabs.stable.example.com", `[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true},
		{"op":"replace","path":"/spec/versions/0/served","value":false}]`, "Content-Type", "application/json-patch+json"); res.StatusCode != 200 || !strings.Contains(string(body), `"storedVersions":["v1","v2"]`) {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if e := <-events.ResultChan(); e.Type != watch.Error {
		t.Errorf("a watch goes on with another definition: %+v", e)
	}
	if res, _ := w.do("GET", tabsPath+"/a", ""); res.StatusCode != 404 {
		t.Errorf("a version that is not served: %d", res.StatusCode)
	}
	v2 := strings.Replace(tabsPath, "v1", "v2", 1)
	if res, body := w.do("PATCH", v2+"/a", `{"spec":{"anything":[1]}}`, "Content-Type", "application/merge-patch+json"); res.StatusCode != 200 || !strings.Contains(string(body), `"anything":[1]`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestCustomResourceDefinitionsGo(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	establish(t, api, w, cronTabs)
	rival := strings.NewReplacer(`"name":"crontabs.`, `"name":"others.`, `"plural":"crontabs"`, `"plural":"others"`, `"singular":"crontab"`, `"singular":"other"`).Replace(cronTabs)
	if res, body := w.do("POST", crdPath, rival); res.StatusCode != 201 {
		t.Fatalf("%s", body)
	}
	awaitDefinition(t, api, "others.stable.example.com", func(c *apiextensionsv1.CustomResourceDefinition) bool {
		for _, cond := range c.Status.Conditions {
			if cond.Type == apiextensionsv1.NamesAccepted && cond.Status == apiextensionsv1.ConditionFalse {
				return true
			}
		}
		return false
	})
	if res, _ := w.do("GET", "/apis/stable.example.com/v1/others", ""); res.StatusCode != 404 {
		t.Errorf("a definition without names is served: %d", res.StatusCode)
	}
	body := `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"%s","finalizers":[%s]},"spec":{"cronSpec":"x"}}`
	w.do("POST", tabsPath, fmt.Sprintf(body, "kept", `"example.com/hold"`))
	w.do("POST", tabsPath, fmt.Sprintf(body, "free", ""))
	if res, answer := w.do("DELETE", crdPath+"/crontabs.stable.example.com", ""); res.StatusCode != 200 {
		t.Fatalf("%s", answer)
	}
	awaitDefinition(t, api, "crontabs.stable.example.com", func(c *apiextensionsv1.CustomResourceDefinition) bool {
		for _, cond := range c.Status.Conditions {
			if cond.Type == apiextensionsv1.Terminating && cond.Reason == "InstanceDeletionInProgress" {
				return true
			}
		}
		return false
	})
	if res, _ := w.do("POST", tabsPath, fmt.Sprintf(body, "late", "")); res.StatusCode != 405 {
		t.Errorf("an object of a definition that goes: %d", res.StatusCode)
	}
	if res, _ := w.do("GET", tabsPath+"/free", ""); res.StatusCode != 404 {
		t.Errorf("an object that nothing keeps is there: %d", res.StatusCode)
	}
	if res, answer := w.do("PATCH", tabsPath+"/kept", `{"metadata":{"finalizers":null}}`, "Content-Type", "application/merge-patch+json"); res.StatusCode != 200 {
		t.Errorf("%s", answer)
	}
	awaitDefinition(t, api, "crontabs.stable.example.com", func(c *apiextensionsv1.CustomResourceDefinition) bool { return c == nil })
	// Its names are free for the rival.
	awaitDefinition(t, api, "others.stable.example.com", func(c *apiextensionsv1.CustomResourceDefinition) bool {
		return c.Status.AcceptedNames.Kind == "CronTab"
	})
	if res, _ := w.do("GET", tabsPath, ""); res.StatusCode != 404 {
		t.Errorf("the resource is still served: %d", res.StatusCode)
	}
}

func TestDefinitionsAreJudged(t *testing.T) {
	w := newWeb(t, servertest.Start(t, nil).REST)
	for name, c := range map[string]struct{ old, new, want string }{
		"rule that does not compile": {`"self.replicas <= 10"`, `"self.nothing == 10"`, `spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.nothing == 10\"`},
		"rule of another type":       {`"self.replicas <= 10"`, `"self.replicas"`, `must evaluate to a bool`},
		"default that does not fit":  {`"default":1}`, `"default":"one"}`, `spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value`},
		"costly rule":                {`"rule":"self.replicas <= 10"`, `"rule":"self.bars.all(x, self.bars.all(y, x.name == y.name))"`, `estimated rule cost exceeds budget`},
		"selectable field that is not there": {`"jsonPath":".spec.cronSpec"}],
"schema"`, `"jsonPath":".spec.none"}],
"schema"`, `spec.versions[0].selectableFields[0].jsonPath: Invalid value`},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(cronTabs, c.old, c.new, 1)
			if body == cronTabs {
				t.Fatal("nothing was changed")
			}
			res, data := (&web{t, w.host, w.h}).do("POST", crdPath+"?dryRun=All", body)
			if res.StatusCode != 422 || !strings.Contains(string(data), c.want) {
				t.Errorf("%d %s\nwant %s", res.StatusCode, data, c.want)
			}
		})
	}
}

package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"hyperkube/internal/server/servertest"
)

// managersOf lists who manages what of an object: "manager operation subresource fields".
func managersOf(t *testing.T, data []byte) []string {
	t.Helper()
	var u unstructured.Unstructured
	if err := json.Unmarshal(data, &u.Object); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	var out []string
	for _, m := range u.GetManagedFields() {
		if m.Time == nil || m.FieldsType != "FieldsV1" || m.APIVersion != u.GetAPIVersion() {
			t.Errorf("incomplete: %+v", m)
		}
		out = append(out, strings.Join([]string{m.Manager, string(m.Operation), m.Subresource, string(m.FieldsV1.Raw)}, " "))
	}
	return out
}

// Whoever makes an object is recorded, and so is everybody who writes it after that.
func TestManagersAreRecordedFromTheCreationOn(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	const path = "/apis/apps/v1/namespaces/default/deployments"
	const body = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"x":"y"}},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
	const merge, applying = "application/merge-patch+json", "application/apply-patch+yaml"
	do := func(method, path, body, media string, code int) []byte {
		t.Helper()
		res, data := w.do(method, path, body, "Content-Type", media)
		if res.StatusCode != code {
			t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, data)
		}
		return data
	}
	expect := func(data []byte, want ...string) {
		t.Helper()
		got := managersOf(t, data)
		if len(got) != len(want) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
		for i := range want {
			before, after, _ := strings.Cut(want[i], "…")
			if !strings.HasPrefix(got[i], before) || !strings.Contains(got[i], after) {
				t.Errorf("got  %s\nwant %s", got[i], want[i])
			}
		}
	}
	made := do("POST", path+"?fieldManager=kubectl-create", body, "application/json", 201)
	expect(made, `kubectl-create Update  {"f:metadata":{"f:labels":{".":{},"f:x":{}}},"f:spec":…"f:replicas":{}`)

	conflict := do("PATCH", path+"/d?fieldManager=me", strings.Replace(body, `"replicas":1`, `"replicas":3`, 1), applying, 409)
	if want := `Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas`; !strings.Contains(string(conflict), want) {
		t.Errorf("got %s\nwant %s", conflict, want)
	}
	do("PATCH", path+"/d/scale?fieldManager=scaler", `{"spec":{"replicas":5}}`, merge, 200)
	expect(do("GET", path+"/d", "", "", 200), "kubectl-create Update  ", `scaler Update scale {"f:spec":{"f:replicas":{}}}`)
	conflict = do("PATCH", path+"/d?fieldManager=me", strings.Replace(body, `"replicas":1`, `"replicas":3`, 1), applying, 409)
	if want := `conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas`; !strings.Contains(string(conflict), want) {
		t.Errorf("got %s\nwant %s", conflict, want)
	}
	do("PATCH", path+"/d/status", `{"status":{"replicas":1},"spec":{"paused":true}}`, merge, 200)
	got := managersOf(t, do("GET", path+"/d", "", "", 200))
	if len(got) != 3 || !strings.Contains(strings.Join(got, "\n"), `Update status {"f:status":{"f:replicas":{}}}`) {
		t.Errorf("%q", got)
	}
	// Who applies the same values shares them; who gives a field up leaves it to the others.
	shared := do("PATCH", path+"/d?fieldManager=me", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"x":"y","mine":"1"}}}`, applying, 200)
	if !strings.Contains(strings.Join(managersOf(t, shared), "\n"), `me Apply  {"f:metadata":{"f:labels":{"f:mine":{},"f:x":{}}}}`) {
		t.Errorf("%q", managersOf(t, shared))
	}
	var left unstructured.Unstructured
	if err := json.Unmarshal(do("PATCH", path+"/d?fieldManager=me", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}`, applying, 200), &left.Object); err != nil {
		t.Fatal(err)
	}
	if labels := left.GetLabels(); labels["x"] != "y" || labels["mine"] != "" {
		t.Errorf("labels %v", labels)
	}
	// Writes that change nothing change no times and no version.
	version := left.GetResourceVersion()
	for _, again := range []struct{ query, body, media string }{
		{"?fieldManager=me", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}`, applying},
		{"?fieldManager=other", `{"metadata":{"labels":{"x":"y"}}}`, merge},
	} {
		var u unstructured.Unstructured
		if err := json.Unmarshal(do("PATCH", path+"/d"+again.query, again.body, again.media, 200), &u.Object); err != nil {
			t.Fatal(err)
		}
		if u.GetResourceVersion() != version {
			t.Errorf("%s was written", again.query)
		}
	}
	if n := managersOf(t, do("PATCH", path+"/d", `{"metadata":{"managedFields":[{}]}}`, merge, 200)); len(n) != 0 {
		t.Errorf("managers that were cleared: %q", n)
	}
	// Programs that do not name a manager are recorded by their user agent.
	expect(do("POST", path, strings.Replace(body, `"name":"d"`, `"name":"e"`, 1), "application/json", 201), "Go-http-client Update  ")
	if n := managersOf(t, do("POST", path+"?fieldManager=m&dryRun=All", strings.Replace(body, `"name":"d"`, `"name":"f"`, 1), "application/json", 201)); len(n) != 1 {
		t.Errorf("a dry run: %q", n)
	}
}

func TestManagersOfCustomResources(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	establish(t, api, w, cronTabs)
	res, data := w.do("POST", tabsPath+"?fieldManager=maker", `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"cronSpec":"x","replicas":2,"bars":[{"name":"n"}]}}`)
	want := `maker Update  {"f:spec":{".":{},"f:bars":{".":{},"k:{\"name\":\"n\"}":{".":{},"f:name":{}}},"f:cronSpec":{},"f:image":{},"f:replicas":{}}}`
	if got := managersOf(t, data); res.StatusCode != 201 || len(got) != 1 || got[0] != want {
		t.Fatalf("%d %q\nwant %s", res.StatusCode, got, want)
	}
	res, data = w.do("PATCH", tabsPath+"/a/status?fieldManager=controller", `{"status":{"replicas":1}}`, "Content-Type", "application/merge-patch+json")
	if got := managersOf(t, data); res.StatusCode != 200 || len(got) != 2 || !slices.Contains(got, `controller Update status {"f:status":{".":{},"f:replicas":{}}}`) { // first where both wrote within a second
		t.Fatalf("%d %q", res.StatusCode, got)
	}
	res, data = w.do("PATCH", tabsPath+"/a?fieldManager=me", `{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"replicas":3}}`, "Content-Type", "application/apply-patch+yaml")
	var st metav1.Status
	if err := json.Unmarshal(data, &st); err != nil {
		t.Fatal(err)
	}
	if want := `Apply failed with 1 conflict: conflict with "maker" using stable.example.com/v1: .spec.replicas`; res.StatusCode != 409 || st.Message != want {
		t.Fatal(fmt.Sprint(res.StatusCode), st.Message)
	}
}

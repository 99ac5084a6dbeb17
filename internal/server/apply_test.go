package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server/servertest"
)

func TestServerSideApply(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	path := "/apis/apps/v1/namespaces/default/deployments/d"
	apply := func(query, body string) (*appsv1.Deployment, metav1.Status, int) {
		t.Helper()
		res, data := w.do("PATCH", path+query, body, "Content-Type", "application/apply-patch+yaml")
		d, st := &appsv1.Deployment{}, metav1.Status{}
		into := any(d)
		if res.StatusCode >= 300 {
			into = &st
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		return d, st, res.StatusCode
	}
	body := func(replicas, image, extra string) string {
		return `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
spec:
  replicas: ` + replicas + `
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - name: c
        image: ` + image + "\n" + extra
	}
	d, st, code := apply("?fieldManager=one", body("2", "i1", ""))
	if code != 201 || len(d.ManagedFields) != 1 || d.ManagedFields[0].Manager != "one" || d.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Fatalf("%d %+v %+v", code, d.ManagedFields, st)
	}
	again, _, code := apply("?fieldManager=one", body("2", "i1", ""))
	if code != 200 || again.ResourceVersion != d.ResourceVersion {
		t.Fatalf("an apply that changes nothing was written: %d %s %s", code, again.ResourceVersion, d.ResourceVersion)
	}
	_, st, code = apply("?fieldManager=two", body("3", "i1", ""))
	if code != 409 || st.Details == nil || len(st.Details.Causes) != 1 || st.Details.Causes[0].Field != ".spec.replicas" ||
		st.Details.Causes[0].Type != metav1.CauseTypeFieldManagerConflict {
		t.Fatalf("%d %+v", code, st)
	}
	if d, st, code = apply("?fieldManager=two&force=true", body("3", "i1", "")); code != 200 || *d.Spec.Replicas != 3 || len(d.ManagedFields) != 2 {
		t.Fatalf("%d %+v %+v", code, d, st)
	}
	res, data := w.do("PATCH", path+"?fieldManager=three", `{"spec":{"replicas":7}}`, "Content-Type", "application/merge-patch+json")
	if res.StatusCode != 200 {
		t.Fatalf("%s", data)
	}
	if _, st, code = apply("?fieldManager=two", body("3", "i1", "")); code != 409 {
		t.Fatalf("a tracked patch makes a conflict: %d %+v", code, st)
	}
	if _, st, code = apply("", body("3", "i1", "")); code != 422 {
		t.Errorf("without a manager: %d %+v", code, st)
	}
	if _, st, code = apply("?fieldManager=two", "kind: x\n\t- y"); code != 400 {
		t.Errorf("nonsense: %d %+v", code, st)
	}
	_, st, code = apply("?fieldManager=two&force=true", body("3", "i1", "  unknownField: 1\n"))
	if code != 500 || !strings.Contains(st.Message, ".spec.unknownField: field not declared in schema") {
		t.Errorf("unknown field: %d %+v", code, st)
	}
	_, st, code = apply("?fieldManager=two&force=true&fieldValidation=Strict", body("3", "i1", "  replicas: 4\n"))
	if code != 400 || !strings.Contains(st.Message, `key "replicas" already set in map`) {
		t.Errorf("duplicate key: %d %+v", code, st)
	}
	// The status belongs to whoever applies it to the status.
	res, data = w.do("PATCH", path+"/status?fieldManager=s&force=true", `{"apiVersion":"apps/v1","kind":"Deployment","status":{"replicas":4},"spec":{"replicas":9}}`, "Content-Type", "application/apply-patch+yaml")
	var got appsv1.Deployment
	if err := json.Unmarshal(data, &got); err != nil || res.StatusCode != 200 || got.Status.Replicas != 4 || *got.Spec.Replicas == 9 {
		t.Errorf("%d %s", res.StatusCode, data)
	}
	if res, _ := w.do("PATCH", "/apis/apps/v1/namespaces/default/deployments/none/status?fieldManager=s", `{"apiVersion":"apps/v1","kind":"Deployment"}`, "Content-Type", "application/apply-patch+yaml"); res.StatusCode != 404 {
		t.Errorf("a status of nothing: %d", res.StatusCode)
	}
}

func TestApplyAfterOtherWrites(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	apply := func(name, query string) (int, metav1.Status) {
		t.Helper()
		res, data := w.do("PATCH", cmPath+"/"+name+query, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"`+name+`"},"data":{"k":"new"}}`, "Content-Type", "application/apply-patch+yaml")
		var st metav1.Status
		if err := json.Unmarshal(data, &st); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, st
	}
	w.do("POST", cmPath, `{"metadata":{"name":"plain"},"data":{"k":"old"}}`)
	w.do("POST", cmPath, `{"metadata":{"name":"kubectl","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kubectl\"},\"data\":{\"k\":\"old\"}}"}},"data":{"k":"old"}}`)
	// What was stored without managers, or was freed of them, is what was there before the first apply.
	w.do("POST", cmPath, `{"metadata":{"name":"freed"},"data":{"k":"old"}}`)
	w.do("PATCH", cmPath+"/freed", `{"metadata":{"managedFields":[{}]}}`, "Content-Type", "application/merge-patch+json")
	w.do("PATCH", cmPath+"/freed", `{"data":{"k":"other"}}`, "Content-Type", "application/merge-patch+json")
	for name, manager := range map[string]string{"plain": "Go-http-client", "kubectl": "Go-http-client", "freed": "before-first-apply"} {
		code, st := apply(name, "?fieldManager=me")
		if code != 409 || !strings.Contains(st.Message, manager) {
			t.Errorf("%s: %d %s", name, code, st.Message)
		}
		if code, st = apply(name, "?fieldManager=me&force=true"); code != 200 {
			t.Errorf("%s: %d %+v", name, code, st)
		}
	}
}

// TestMigrationFromClientSideApply does what kubectl does with --server-side on an object of its client-side apply: what others
// set since must not go.
func TestMigrationFromClientSideApply(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	const spec = `"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}`
	applied := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"default"},` + spec + `}`
	text, err := json.Marshal(applied)
	if err != nil {
		t.Fatal(err)
	}
	path := "/apis/apps/v1/namespaces/default/deployments/d"
	w.do("POST", strings.TrimSuffix(path, "/d"), `{"metadata":{"name":"d","annotations":{"kubectl.kubernetes.io/last-applied-configuration":`+string(text)+`}},`+spec+`}`)
	w.do("PATCH", path+"/scale", `{"spec":{"replicas":5}}`, "Content-Type", "application/merge-patch+json")
	_, body := w.do("PATCH", path+"?fieldManager=kubectl&dryRun=All&force=true", applied, "Content-Type", "application/apply-patch+yaml")
	var d appsv1.Deployment
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	for _, m := range d.ManagedFields {
		if own := strings.Contains(string(m.FieldsV1.Raw), "f:replicas"); own != (m.Subresource == "scale") {
			t.Errorf("%s %s owns %s", m.Manager, m.Operation, m.FieldsV1.Raw)
		}
	}
	if len(d.ManagedFields) != 3 || *d.Spec.Replicas != 5 {
		t.Errorf("%s", body)
	}
}

package crd

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/server/webhook"
)

var v2 = schema.GroupVersion{Group: "example.com", Version: "v2"}

// review is the wire form, apart from the Go types that the product uses.
type review = map[string]any

// converterOf asks a webhook that answers as told; mend changes its answer, which without is right.
func converterOf(t *testing.T, version string, mend func(review review, objs []any) []any) (h *hook, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in review
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
			return
		}
		req := in["request"].(map[string]any)
		objs := req["objects"].([]any)
		*asked = append(*asked, fmt.Sprint(in["apiVersion"], " ", len(objs)))
		for _, o := range objs {
			o.(map[string]any)["apiVersion"] = req["desiredAPIVersion"]
		}
		response := map[string]any{"uid": req["uid"], "result": map[string]any{"status": "Success"}}
		out := review{"apiVersion": in["apiVersion"], "kind": in["kind"], "response": response}
		if mend != nil {
			objs = mend(out, objs)
		}
		response["convertedObjects"] = objs
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &hook{caller: webhook.New(nil), target: webhook.Target{URL: s.URL, CABundle: ca}, version: version, name: "tabs.example.com", metrics: newMetrics()}, asked
}

func tab(name string, extra int) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Tab", "spec": strings.Repeat("x", extra),
		"metadata": map[string]any{"name": name, "namespace": "default", "uid": "u-" + name, "generation": int64(1)}}}
}

// TestAnswersOfConversionWebhooks takes what the API allows, and refuses the rest in the words of upstream's API server.
func TestAnswersOfConversionWebhooks(t *testing.T) {
	last := func(f func(o map[string]any)) func(review, []any) []any {
		return func(_ review, objs []any) []any {
			f(objs[len(objs)-1].(map[string]any))
			return objs
		}
	}
	meta := func(key string, value any) func(review, []any) []any {
		return last(func(o map[string]any) { o["metadata"].(map[string]any)[key] = value })
	}
	of := func(f func(out, response review)) func(review, []any) []any {
		return func(out review, objs []any) []any {
			f(out, out["response"].(map[string]any))
			return objs
		}
	}
	bare := of(func(out, response review) { delete(out, "kind"); delete(out, "apiVersion") })
	otherUID := of(func(_, response review) { response["uid"] = "x" })
	for _, c := range []struct {
		name, version, want, failure string
		mend                         func(review, []any) []any
	}{
		{"right", "v1", "", "", nil},
		{"right in v1beta1", "v1beta1", "", "", nil},
		{"other generation, which does not count", "v1", "", "", meta("generation", 77)},
		{"no kind", "v1", "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind=", malformedFailure, bare},
		{"no kind in v1beta1", "v1beta1", "", "", bare},
		{"other kind in v1beta1", "v1beta1", "failed: expected webhook response of apiextensions.k8s.io/v1beta1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=Foo", malformedFailure, of(func(out, _ review) { out["kind"] = "Foo" })},
		{"other request", "v1", `got "x"`, malformedFailure, otherUID},
		{"other request in v1beta1", "v1beta1", "", "", otherUID},
		{"no response", "v1", "failed: no response provided", malformedFailure, of(func(out, _ review) { delete(out, "response") })},
		{"refused", "v1", "failed: no way", malformedFailure, of(func(_, r review) { r["result"] = review{"status": "Failure", "message": "no way"} })},
		{"refused without a word", "v1", "failed: response.result.status was 'Failure', not 'Success'", malformedFailure, of(func(_, r review) { r["result"] = review{"status": "Failure"} })},
		{"no status", "v1", "failed: response.result.status was '', not 'Success'", malformedFailure, of(func(_, r review) { delete(r, "result") })},
		{"fewer", "v1", "returned 2 objects, expected 3", partialFailure, func(_ review, objs []any) []any { return objs[1:] }},
		{"more", "v1", "returned 4 objects, expected 3", partialFailure, func(_ review, objs []any) []any { return append(objs, objs[0]) }},
		{"other order", "v1", "returned invalid object: must have the same name: a != b", invalidFailure, func(_ review, objs []any) []any { return []any{objs[1], objs[0], objs[2]} }},
		{"other version", "v1", "returned invalid object at index 2: invalid groupVersion (expected example.com/v2, received example.com/v9)", invalidFailure, last(func(o map[string]any) { o["apiVersion"] = "example.com/v9" })},
		{"other kind", "v1", "returned invalid object at index 2: invalid kind (expected Tab, received Foo)", invalidFailure, last(func(o map[string]any) { o["kind"] = "Foo" })},
		{"other name", "v1", "returned invalid object: must have the same name: c != z", invalidFailure, meta("name", "z")},
		{"other namespace", "v1", "returned invalid object: must have the same namespace: default != z", invalidFailure, meta("namespace", "z")},
		{"other UID", "v1", "returned invalid object: must have the same UID: u-c != z", invalidFailure, meta("uid", "z")},
		{"no metadata", "v1", "returned invalid object: must have the same name: c != ", invalidFailure, last(func(o map[string]any) { delete(o, "metadata") })},
		{"label of a wrong type", "v1", "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object", invalidFailure, meta("labels", map[string]any{"a": 1})},
		{"bad label", "v1", `returned invalid metadata: metadata.labels: Invalid value: "!!": a valid label must be`, invalidFailure, meta("labels", map[string]any{"a": "!!"})},
		{"no object", "v1", "returned invalid object at index 2: ", invalidFailure, func(_ review, objs []any) []any { return []any{objs[0], objs[1], nil} }},
		{"versions that nobody knows", "", "failed: it takes no version of ConversionReview that is known here", callFailure, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := converterOf(t, c.version, c.mend)
			in := []*unstructured.Unstructured{tab("a", 0), tab("b", 0), tab("c", 0)}
			out, err := h.convert(in, v2)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				for i, o := range out {
					if !reflect.DeepEqual(o.Object["metadata"], in[i].Object["metadata"]) || o.GetAPIVersion() != "example.com/v2" || in[i].GetAPIVersion() != "example.com/v1" {
						t.Errorf("%v became %v", in[i].Object, o.Object)
					}
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), "conversion webhook for example.com/v1, Kind=Tab ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if got := failureKind(err); got != c.failure {
				t.Errorf("counted as %q, want %q", got, c.failure)
			}
		})
	}
}

// TestLabelsOfConvertedObjects may differ, and annotations.
func TestLabelsOfConvertedObjects(t *testing.T) {
	h, _ := converterOf(t, "v1", func(_ review, objs []any) []any {
		m := objs[0].(map[string]any)["metadata"].(map[string]any)
		m["labels"], m["annotations"], m["finalizers"] = map[string]any{"a": "b"}, map[string]any{"c": "d"}, []any{"x/y"}
		return objs
	})
	out, err := h.convert([]*unstructured.Unstructured{tab("a", 0)}, v2)
	if err != nil {
		t.Fatal(err)
	}
	if o := out[0]; o.GetLabels()["a"] != "b" || o.GetAnnotations()["c"] != "d" || len(o.GetFinalizers()) > 0 {
		t.Errorf("%v", o.Object["metadata"])
	}
}

// TestReviewsAreBounded asks for many objects together, but neither for too many nor for too much.
func TestReviewsAreBounded(t *testing.T) {
	for _, c := range []struct {
		count, size int
		want        string
	}{
		{1, 0, "[1]"}, {500, 0, "[500]"}, {1201, 0, "[500 500 201]"}, {5, 900 << 10, "[2 2 1]"}, {2, 3 << 20, "[1 1]"},
	} {
		h, asked := converterOf(t, "v1beta1", nil)
		var in []object.Object
		for i := range c.count {
			in = append(in, tab(fmt.Sprint("t", i), c.size))
		}
		out, err := conversions(h.convert, v2)(in)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			if out[i].GetName() != in[i].GetName() {
				t.Fatalf("%d is %s, not %s", i, out[i].GetName(), in[i].GetName())
			}
		}
		if got := strings.ReplaceAll(fmt.Sprint(*asked), "apiextensions.k8s.io/v1beta1 ", ""); got != c.want {
			t.Errorf("%d of %d bytes: reviews of %s objects, want %s", c.count, c.size, got, c.want)
		}
		if got := counted(t, h.metrics.byCRD); got != 1 {
			t.Errorf("%d conversions counted, want 1", got)
		}
		h.metrics.forget(h.name)
		if got := counted(t, h.metrics.byCRD); got != 0 {
			t.Errorf("a definition that is gone is still told of")
		}
	}
}

// counted sums up the observations of a histogram.
func counted(t *testing.T, c prometheus.Collector) uint64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n += m.GetHistogram().GetSampleCount()
		}
	}
	return n
}

// TestConversionAsksOnlyForWhatNeedsIt leaves out what is of the version already and the bookmarks of watches.
func TestConversionAsksOnlyForWhatNeedsIt(t *testing.T) {
	h, asked := converterOf(t, "v1", nil)
	have := tab("a", 0)
	have.SetAPIVersion(v2.String())
	mark := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Tab", "metadata": map[string]any{"resourceVersion": "7"}}}
	out, err := conversions(h.convert, v2)([]object.Object{have, tab("b", 0), mark})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a", "b", ""} {
		if u := out[i].(*unstructured.Unstructured); u.GetName() != want || u.GetAPIVersion() != v2.String() {
			t.Errorf("%d: %v", i, u.Object)
		}
	}
	if got := fmt.Sprint(*asked); got != "[apiextensions.k8s.io/v1 1]" {
		t.Errorf("asked %s", got)
	}
}

func TestReviewVersion(t *testing.T) {
	for want, list := range map[string][]string{"v1": {"v1", "v1beta1"}, "v1beta1": {"v9", "v1beta1", "v1"}, "": {"v9"}} {
		if got := reviewVersion(list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
}

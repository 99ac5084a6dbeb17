package decode

import (
	"net/url"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// FuzzBody reads bodies: an object of the kind that was asked for, or an error.
func FuzzBody(f *testing.F) {
	t := object.Builtin()
	media := []string{codec.JSON, codec.YAML, codec.Protobuf}
	targets := []schema.GroupVersionResource{{Version: "v1", Resource: "pods"}, {Group: "apps", Version: "v1", Resource: "deployments"},
		{Group: "autoscaling", Version: "v1", Resource: "horizontalpodautoscalers"}, {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}}
	for i, s := range []string{`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","name":"b"}]}}`, "a: &a [*a]", "k8s\x00\n\x02\n\x00", `{"metadata":3}`, "[]", "null"} {
		f.Add(uint8(i), uint8(i), []byte(s))
	}
	f.Fuzz(func(t2 *testing.T, which, m uint8, data []byte) {
		_, v := t.Resource(targets[int(which)%len(targets)])
		for _, level := range []string{metav1.FieldValidationIgnore, metav1.FieldValidationWarn, metav1.FieldValidationStrict} {
			obj, err := Body(data, media[int(m)%3], ExpectVersion(v), level, func(string) {})
			if (obj == nil) == (err == nil) {
				t2.Fatalf("%v and %v", obj, err)
			}
		}
	})
}

// FuzzQuery reads options and selectors.
func FuzzQuery(f *testing.F) {
	f.Add("labelSelector=a+in+(b,c),!d&fieldSelector=spec.nodeName%3Dx,metadata.name!%3Dy&limit=1&continue=x&resourceVersionMatch=Exact&resourceVersion=1")
	f.Add("dryRun=All&force=true&fieldManager=x&fieldValidation=Strict&gracePeriodSeconds=-1&propagationPolicy=Orphan&timeoutSeconds=99999999999999999999")
	k, v := object.Builtin().Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	f.Fuzz(func(t *testing.T, text string) {
		q, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if o, err := List(q); err == nil {
			_ = CheckList(o, false)
			_ = CheckList(o, true)
			if l, s, err := Selectors(k, v, o.LabelSelector, o.FieldSelector); err == nil {
				if l != nil {
					_ = l.String()
				}
				if s != nil {
					_ = s.String()
				}
			}
		}
		_, _ = Create(q)
		_, _ = Update(q)
		_, _ = Patch(q, types.ApplyPatchType)
		_, _ = Delete(nil, "", q)
		_, _ = Get(q)
	})
}

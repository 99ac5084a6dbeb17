package crd

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestApproval(t *testing.T) {
	const missing = `protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111`
	const invalid = `protected groups must have approval annotation "api-approved.kubernetes.io" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111`
	for _, x := range []struct {
		group, annotation string
		status            apiextensionsv1.ConditionStatus
		reason, message   string
	}{
		{"other.io", "", "", "", ""},
		{"sigs.k8s.io", "", "False", "MissingAnnotation", missing},
		{"sigs.k8s.io", "bad value", "False", "InvalidAnnotation", invalid},
		{"x.kubernetes.io", "https://github.com/kubernetes/kubernetes/pull/79724", "True", "ApprovedAnnotation", "approved in https://github.com/kubernetes/kubernetes/pull/79724"},
		{"sigs.k8s.io", "unapproved for reasons", "False", "UnapprovedAnnotation", `not approved: "unapproved for reasons"`},
	} {
		c := &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: x.annotation}},
			Spec:       apiextensionsv1.CustomResourceDefinitionSpec{Group: x.group},
		}
		approve(c)
		got := find(c, apiextensionsv1.KubernetesAPIApprovalPolicyConformant)
		if got == nil && x.status == "" {
			continue
		}
		if got == nil || got.Status != x.status || got.Reason != x.reason || got.Message != x.message {
			t.Errorf("%s %q: %+v", x.group, x.annotation, got)
		}
	}
}

func TestSchemasThatAreNotStructural(t *testing.T) {
	c := &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{PreserveUnknownFields: true,
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
			Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": {}}}}}}}}
	judgeStructure(c)
	got := find(c, apiextensionsv1.NonStructuralSchema)
	if got == nil || got.Status != apiextensionsv1.ConditionTrue || got.Reason != "Violations" {
		t.Fatalf("%+v", got)
	}
	for _, text := range []string{"spec.preserveUnknownFields: Invalid value: true: must be false",
		"spec.versions[0].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields"} {
		if !strings.Contains(got.Message, text) {
			t.Errorf("%q is not in %q", text, got.Message)
		}
	}
	c.Spec.PreserveUnknownFields = false
	c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["a"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	if judgeStructure(c); find(c, apiextensionsv1.NonStructuralSchema) != nil {
		t.Errorf("%+v", c.Status.Conditions)
	}
}

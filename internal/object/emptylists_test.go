package object

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestDropEmptyLists(t *testing.T) {
	r := &rbacv1.Role{Rules: []rbacv1.PolicyRule{}}
	DropEmptyLists(r)
	assert.Nil(t, r.Rules)

	r.Rules = []rbacv1.PolicyRule{{Verbs: []string{}, Resources: []string{}}}
	DropEmptyLists(r)
	assert.Nil(t, r.Rules[0].Verbs, "in an element of a list")
	assert.NotNil(t, r.Rules[0].Resources, "JSON does not show these")

	p := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{}}}}}}}
	DropEmptyLists(p)
	assert.Nil(t, p.Spec.Volumes[0].Projected.Sources, "behind a pointer")

	// Schemas contain themselves.
	c := &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
		Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{AllOf: []apiextensionsv1.JSONSchemaProps{{}}}}}}}}
	DropEmptyLists(c)
	assert.Len(t, c.Spec.Versions, 1)
}

func BenchmarkDropEmptyLists(b *testing.B) {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 2), Volumes: make([]corev1.Volume, 2)}}
	for b.Loop() {
		DropEmptyLists(p)
	}
}

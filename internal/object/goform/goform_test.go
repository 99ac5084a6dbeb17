package goform_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/object/goform"
)

func TestGoForm(t *testing.T) {
	one := int64(1)
	for want, v := range map[string]any{
		`null`: nil,
		`{"Type":"Localhost","LocalhostProfile":null}`: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost},
		`{"Add":["A"],"Drop":null}`:                    corev1.Capabilities{Add: []corev1.Capability{"A"}},
		`{"Name":"s","Optional":null}`:                 corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}},
		`{"Limits":{"cpu":"1","memory":"2"},"Requests":null,"Claims":null}`: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{"memory": resource.MustParse("2"), "cpu": resource.MustParse("1")}},
		`{"matchLabels":{"a":"b"}}`: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		`{"Key":"k","Operator":"","Value":"","Effect":"","TolerationSeconds":1}`: corev1.Toleration{Key: "k", TolerationSeconds: &one},
	} {
		got, err := json.Marshal(goform.Of(v))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	got, err := json.Marshal(goform.Of(corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Name: "n"}}))
	require.NoError(t, err)
	require.Contains(t, string(got), `{"name":"n","Spec":{"Volumes":null,"InitContainers":null,`)
}

package history

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

func TestDataPutsATemplateBack(t *testing.T) {
	template := func(image string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
	}
	old := template("1")
	data, err := Data(&old)
	require.NoError(t, err)
	ds := appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template("2")}}
	ds.Spec.Template.Spec.Containers = append(ds.Spec.Template.Spec.Containers, corev1.Container{Name: "d"})
	raw, err := json.Marshal(ds)
	require.NoError(t, err)
	raw, err = strategicpatch.StrategicMergePatch(raw, data, appsv1.DaemonSet{})
	require.NoError(t, err)
	var back appsv1.DaemonSet
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, old, back.Spec.Template)

	r := &appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(" " + string(data))}, Revision: 3}
	require.True(t, Holds(r, data))
	other := template("3")
	more, err := Data(&other)
	require.NoError(t, err)
	require.False(t, Holds(r, more))
	current, rest := Split([]*appsv1.ControllerRevision{r}, more)
	require.Empty(t, current)
	require.Equal(t, int64(4), Next(rest))
	one := int32(1)
	require.NotEqual(t, Hash(data, nil), Hash(data, &one))
}

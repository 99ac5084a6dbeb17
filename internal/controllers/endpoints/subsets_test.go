package endpoints

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(n int, ready bool, named int32) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(n), UID: types.UID(fmt.Sprint(n))}}
	p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.%d.%d", n/256, n%256)}}
	p.Status.Phase = corev1.PodRunning
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: named}}}}
	return p
}

func TestSubsets(t *testing.T) {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
		{Name: "http", TargetPort: intstr.FromString("web")}, {Name: "fixed", TargetPort: intstr.FromInt32(9)},
	}}}
	pods := []*corev1.Pod{pod(1, true, 80), pod(2, false, 80)}
	got := subsets(svc, pods)
	require.Len(t, got, 1, "ports with the same addresses stand together")
	require.Equal(t, "fixed", got[0].Ports[0].Name)
	require.Equal(t, "10.0.0.1", got[0].Addresses[0].IP)
	require.Equal(t, "10.0.0.2", got[0].NotReadyAddresses[0].IP)
	slices.Reverse(pods)
	require.Equal(t, got, subsets(svc, pods), "the order of pods does not matter")
	require.Len(t, subsets(svc, append(pods, pod(3, true, 81))), 3, "one name with two numbers")
	svc.Spec.PublishNotReadyAddresses = true
	require.Empty(t, subsets(svc, pods)[0].NotReadyAddresses)
	none := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}}
	require.Len(t, subsets(none, pods)[0].Addresses, 1)
	require.Empty(t, subsets(none, pods)[0].Ports)
	ended := pod(4, true, 80)
	ended.Status.Phase = corev1.PodFailed
	require.Empty(t, subsets(svc, []*corev1.Pod{ended}))
}

func TestTruncate(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 1200 {
		pods = append(pods, pod(i, i%2 == 0, 80))
	}
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{TargetPort: intstr.FromInt32(9)}}}}
	got, cut := truncate(subsets(svc, pods))
	require.True(t, cut)
	require.Len(t, got[0].Addresses, 600, "ready ones first")
	require.Len(t, got[0].NotReadyAddresses, 400)
	_, cut = truncate(subsets(svc, pods[:1000]))
	require.False(t, cut)
}

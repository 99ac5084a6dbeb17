package controllermanager_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podautoscaler"
	"hyperkube/roles/controllermanager"
)

var podMetrics = client.GVR{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}

// TestAutoscaling has a custom resource stand in for the API of the metrics server.
func TestAutoscaling(t *testing.T) {
	c := start(t, func(_ *cluster, cfg *controllermanager.Config) {
		cfg.Autoscaler = podautoscaler.Defaults()
		cfg.Autoscaler.Period = 100 * time.Millisecond
	})
	c.node(t, "n1", nil)
	c.pretend(t, "n1")
	ns := c.namespace(t, "autoscaling")
	serveMetrics(t, c, ns)
	_, err := client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 1))
	require.NoError(t, err)
	first := await(t, c, client.Pods, ns, running("d", 1))[0]
	hpas := client.Resource[*autoscalingv2.HorizontalPodAutoscaler]{GVR: autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers")}
	_, err = hpas.Create(c.ctx, c.admin, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "h"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"}, MaxReplicas: 4,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: ptr.To(resource.MustParse("100Mi"))},
			}}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: ptr.To(int32(0))}},
		},
	})
	require.NoError(t, err)
	says := func(t autoscalingv2.HorizontalPodAutoscalerConditionType, status corev1.ConditionStatus, reason string) func(*autoscalingv2.HorizontalPodAutoscaler) error {
		return func(h *autoscalingv2.HorizontalPodAutoscaler) error {
			for _, x := range h.Status.Conditions {
				if x.Type == t && x.Status == status && x.Reason == reason {
					return nil
				}
			}
			return fmt.Errorf("%+v", h.Status)
		}
	}
	size := func(n int32) func(*appsv1.Deployment) error {
		return func(d *appsv1.Deployment) error {
			if *d.Spec.Replicas != n {
				return fmt.Errorf("%d replicas", *d.Spec.Replicas)
			}
			return nil
		}
	}
	awaitOne(t, c, hpas, ns, "h", says(autoscalingv2.ScalingActive, corev1.ConditionFalse, "FailedGetResourceMetric"))
	uses(t, c, first, "300Mi")
	awaitOne(t, c, client.Deployments, ns, "d", size(3))
	h := awaitOne(t, c, hpas, ns, "h", says(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound"))
	require.NotNil(t, h.Status.LastScaleTime)
	uses(t, c, first, "900Mi")
	awaitOne(t, c, client.Deployments, ns, "d", size(4))
	awaitOne(t, c, hpas, ns, "h", says(autoscalingv2.ScalingLimited, corev1.ConditionTrue, "TooManyReplicas"))
	for _, p := range await(t, c, client.Pods, ns, running("d", 4)) {
		uses(t, c, p, "45Mi")
	}
	awaitOne(t, c, client.Deployments, ns, "d", size(2))
}

// serveMetrics defines the kind PodMetrics, and waits until it is served.
func serveMetrics(t *testing.T, c *cluster, ns string) {
	t.Helper()
	definitions := client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}
	_, err := definitions.Create(c.ctx, c.admin, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "pods.metrics.k8s.io", Annotations: map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: "unapproved, for a test"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "metrics.k8s.io", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "pods", Kind: "PodMetrics"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1beta1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: ptr.To(true)}}}},
		},
	})
	require.NoError(t, err)
	awaitOne(t, c, definitions, "", "pods.metrics.k8s.io", func(d *apiextensionsv1.CustomResourceDefinition) error {
		if _, err := c.admin.List(c.ctx, podMetrics, ns, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("%w: %+v", err, d.Status)
		}
		return nil
	})
}

// uses tells what a pod uses of memory.
func uses(t *testing.T, c *cluster, p *corev1.Pod, memory string) {
	t.Helper()
	m := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "timestamp": time.Now().UTC().Format(time.RFC3339), "window": "30s",
		"metadata":   map[string]any{"namespace": p.Namespace, "name": p.Name, "labels": map[string]any{"app": p.Labels["app"]}},
		"containers": []any{map[string]any{"name": "c", "usage": map[string]any{"memory": memory}}},
	}}
	err := c.admin.Delete(c.ctx, podMetrics, p.Namespace, p.Name, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		require.NoError(t, err)
	}
	_, err = c.admin.Create(c.ctx, podMetrics, m, metav1.CreateOptions{})
	require.NoError(t, err)
}

package object

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

func horizontalPodAutoscalerKind() *Kind {
	old := version[autoscalingv1.HorizontalPodAutoscaler, autoscalingv1.HorizontalPodAutoscalerList](
		autoscalingv1.SchemeGroupVersion, "HorizontalPodAutoscaler")
	old.FromHub, old.ToHub = hpaFromV2, hpaToV2
	return &Kind{
		Versions: []Version{
			version[autoscalingv2.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscalerList](
				autoscalingv2.SchemeGroupVersion, "HorizontalPodAutoscaler"),
			old,
		},
		Resource:      "horizontalpodautoscalers",
		Singular:      "horizontalpodautoscaler",
		ShortNames:    []string{"hpa"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "horizontalpodautoscalers",
		Subresources: []Subresource{
			writes("status", rules[*autoscalingv2.HorizontalPodAutoscaler]{}),
		},
	}
}

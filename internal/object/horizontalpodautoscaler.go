package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type hpa = autoscalingv2.HorizontalPodAutoscaler

func horizontalPodAutoscalerKind() *Kind {
	old := version[autoscalingv1.HorizontalPodAutoscaler, autoscalingv1.HorizontalPodAutoscalerList](
		autoscalingv1.SchemeGroupVersion, "HorizontalPodAutoscaler")
	old.FromHub, old.ToHub = hpaFromV2, hpaToV2
	spec, status := doc(autoscalingv2.HorizontalPodAutoscalerSpec{}.SwaggerDoc()), doc(autoscalingv2.HorizontalPodAutoscalerStatus{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{
			version[hpa, autoscalingv2.HorizontalPodAutoscalerList](autoscalingv2.SchemeGroupVersion, "HorizontalPodAutoscaler"),
			old,
		},
		Resource:      "horizontalpodautoscalers",
		Singular:      "horizontalpodautoscaler",
		ShortNames:    []string{"hpa"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "horizontalpodautoscalers",
		Strategy: rules[*hpa]{
			Default: defaultHPA,
			PrepareCreate: func(h *hpa) {
				h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
				firstGeneration(h)
			},
			PrepareUpdate: func(h, old *hpa) {
				h.Status = *old.Status.DeepCopy()
				nextGeneration(h, old, h.Spec, old.Spec)
			},
			Validate: validateHPA,
			ValidateCreate: func(h *hpa) field.ErrorList {
				return append(groupOfTarget(&h.Spec.ScaleTargetRef), maxReplicasSet(h)...)
			},
			ValidateUpdate: func(h, old *hpa) field.ErrorList {
				if len(groupOfTarget(&old.Spec.ScaleTargetRef)) > 0 { // made before it was asked for
					return maxReplicasSet(h)
				}
				return append(groupOfTarget(&h.Spec.ScaleTargetRef), maxReplicasSet(h)...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*hpa]{
			PrepareUpdate: func(h, old *hpa) { h.Spec = *old.Spec.DeepCopy() },
			ValidateUpdate: func(h, _ *hpa) field.ErrorList {
				all := []number{{statusPath.Child("currentReplicas"), int64(h.Status.CurrentReplicas)},
					{statusPath.Child("desiredReplicas"), int64(h.Status.DesiredReplicas)}}
				for i, c := range h.Status.Conditions {
					all = append(all, num(statusPath.Child("conditions").Index(i).Child("observedGeneration"), c.ObservedGeneration))
				}
				return nonNegative(all...)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Reference", "string", spec["scaleTargetRef"]),
			column("Targets", "string", spec["metrics"]),
			column("MinPods", "string", spec["minReplicas"]),
			column("MaxPods", "string", spec["maxReplicas"]),
			column("Replicas", "string", status["currentReplicas"]),
			ageColumn(),
		},
		Cells: cells(func(h *hpa, now time.Time) []any {
			least := "<unset>"
			if m := h.Spec.MinReplicas; m != nil {
				least = strconv.Itoa(int(*m))
			}
			return []any{h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, hpaTargets(h), least,
				int64(h.Spec.MaxReplicas), int64(h.Status.CurrentReplicas), age(h, now)}
		}),
	}
}

func defaultHPA(h *hpa) {
	setDefaultPtr(&h.Spec.MinReplicas, 1)
	if len(h.Spec.Metrics) == 0 {
		h.Spec.Metrics = []autoscalingv2.MetricSpec{cpuUtilization(80)}
	}
	b := h.Spec.Behavior
	if b == nil {
		return
	}
	setDefaultPtr(&b.ScaleUp, autoscalingv2.HPAScalingRules{})
	setDefaultPtr(&b.ScaleDown, autoscalingv2.HPAScalingRules{})
	setDefaultPtr(&b.ScaleUp.StabilizationWindowSeconds, 0)
	setDefaultPtr(&b.ScaleUp.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	setDefaultPtr(&b.ScaleDown.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if b.ScaleUp.Policies == nil {
		b.ScaleUp.Policies = []autoscalingv2.HPAScalingPolicy{
			{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
			{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
		}
	}
	if b.ScaleDown.Policies == nil {
		b.ScaleDown.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}}
	}
}

// hpaTargets shows the first two metrics as current/wanted.
func hpaTargets(h *hpa) string {
	if len(h.Spec.Metrics) == 0 {
		return none
	}
	const most = 2
	var all []string
	for i := range min(len(h.Spec.Metrics), most) {
		var s *autoscalingv2.MetricStatus
		if i < len(h.Status.CurrentMetrics) {
			s = &h.Status.CurrentMetrics[i]
		}
		all = append(all, metricText(&h.Spec.Metrics[i], s))
	}
	text := strings.Join(all, ", ")
	if n := len(h.Spec.Metrics); n > most {
		text = fmt.Sprintf("%s + %d more...", text, n-most)
	}
	return text
}

func metricText(m *autoscalingv2.MetricSpec, s *autoscalingv2.MetricStatus) string {
	switch {
	case m.External != nil:
		var c autoscalingv2.MetricValueStatus
		if s != nil && s.External != nil {
			c = s.External.Current
		}
		if m.External.Target.AverageValue != nil {
			return valueText(c.AverageValue) + "/" + m.External.Target.AverageValue.String() + " (avg)"
		}
		return valueText(c.Value) + "/" + valueText(m.External.Target.Value)
	case m.Pods != nil:
		var c autoscalingv2.MetricValueStatus
		if s != nil && s.Pods != nil {
			c = s.Pods.Current
		}
		return valueText(c.AverageValue) + "/" + valueText(m.Pods.Target.AverageValue)
	case m.Object != nil:
		var c autoscalingv2.MetricValueStatus
		if s != nil && s.Object != nil {
			c = s.Object.Current
		}
		if m.Object.Target.AverageValue != nil {
			return valueText(c.AverageValue) + "/" + m.Object.Target.AverageValue.String() + " (avg)"
		}
		return valueText(c.Value) + "/" + valueText(m.Object.Target.Value)
	case m.Resource != nil:
		var c autoscalingv2.MetricValueStatus
		if s != nil && s.Resource != nil {
			c = s.Resource.Current
		}
		return string(m.Resource.Name) + ": " + resourceTargetText(m.Resource.Target, c)
	case m.ContainerResource != nil:
		var c autoscalingv2.MetricValueStatus
		if s != nil && s.ContainerResource != nil {
			c = s.ContainerResource.Current
		}
		return string(m.ContainerResource.Name) + ": " + resourceTargetText(m.ContainerResource.Target, c)
	}
	return "<unknown type>"
}

func resourceTargetText(t autoscalingv2.MetricTarget, c autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return valueText(c.AverageValue) + "/" + t.AverageValue.String()
	}
	now, want := unknown, "<auto>"
	if c.AverageUtilization != nil {
		now = fmt.Sprintf("%d%%", *c.AverageUtilization)
	}
	if t.AverageUtilization != nil {
		want = fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return now + "/" + want
}

func valueText(q *resource.Quantity) string {
	if q == nil {
		return unknown
	}
	return q.String()
}

func validateHPA(h *hpa) field.ErrorList {
	s := &h.Spec
	var errs field.ErrorList
	least := deref(s.MinReplicas, 1)
	scalesOnOther := slices.ContainsFunc(s.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	})
	if least < 0 {
		errs = append(errs, field.Invalid(specPath.Child("minReplicas"), least, "must be greater than or equal to 0"))
	}
	if s.MaxReplicas < least {
		errs = append(errs, field.Invalid(specPath.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	ref := specPath.Child("scaleTargetRef")
	errs = append(errs, validateReference(&s.ScaleTargetRef, ref)...)
	for i := range s.Metrics {
		errs = append(errs, validateMetric(&s.Metrics[i], specPath.Child("metrics").Index(i))...)
	}
	if least == 0 && !scalesOnOther { // nothing would tell when to begin again
		errs = append(errs, field.Forbidden(specPath.Child("metrics"),
			"must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	if b := s.Behavior; b != nil {
		errs = append(errs, validateScaling(b.ScaleUp, specPath.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateScaling(b.ScaleDown, specPath.Child("behavior", "scaleDown"))...)
	}
	return errs
}

// maxReplicasSet is judged last, after what only new objects or only updates heed.
func maxReplicasSet(h *hpa) field.ErrorList {
	at, n := specPath.Child("maxReplicas"), h.Spec.MaxReplicas
	switch {
	case n == 0:
		return field.ErrorList{field.Required(at, "")}
	case n < 0:
		return field.ErrorList{field.Invalid(at, n, "must be greater than or equal to 1")}
	}
	return nil
}

func validateScaling(r *autoscalingv2.HPAScalingRules, at *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	const hour = 3600
	var errs field.ErrorList
	switch w := deref(r.StabilizationWindowSeconds, 0); {
	case w < 0:
		errs = append(errs, field.Invalid(at.Child("stabilizationWindowSeconds"), w, "must be greater than or equal to zero"))
	case w > hour:
		errs = append(errs, field.Invalid(at.Child("stabilizationWindowSeconds"), w, fmt.Sprintf("must be less than or equal to %d", hour)))
	}
	if p := r.SelectPolicy; p != nil {
		errs = append(errs, oneOf(at.Child("selectPolicy"), *p, autoscalingv2.DisabledPolicySelect,
			autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)...)
	}
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(at.Child("policies"), "must specify at least one Policy"))
	}
	for i, p := range r.Policies {
		q := at.Child("policies").Index(i)
		errs = append(errs, oneOf(q.Child("type"), p.Type, autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)...)
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(q.Child("value"), p.Value, "must be greater than zero"))
		}
		switch {
		case p.PeriodSeconds <= 0:
			errs = append(errs, field.Invalid(q.Child("periodSeconds"), p.PeriodSeconds, "must be greater than zero"))
		case p.PeriodSeconds > hour/2:
			errs = append(errs, field.Invalid(q.Child("periodSeconds"), p.PeriodSeconds, "must be less than or equal to 1800"))
		}
	}
	if t := r.Tolerance; t != nil && t.Sign() < 0 {
		errs = append(errs, field.Invalid(at.Child("tolerance"), t, "must be greater than or equal to 0"))
	}
	return errs
}

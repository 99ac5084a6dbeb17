package object

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateReference(r *autoscalingv2.CrossVersionObjectReference, at *field.Path) field.ErrorList {
	return append(segment(r.Kind, "", at.Child("kind")), segment(r.Name, "", at.Child("name"))...)
}

// segment wants a text that may stand in a URL's path.
func segment(value, missing string, at *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(at, missing)}
	}
	return check(at, value, nameIsSegment(value, false))
}

// groupOfTarget: what is scaled is found by its group; of the kinds without one only replication controllers scale.
func groupOfTarget(r *autoscalingv2.CrossVersionObjectReference) field.ErrorList {
	at := specPath.Child("scaleTargetRef", "apiVersion")
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return field.ErrorList{field.Invalid(at, r.APIVersion, err.Error())}
	}
	if gv.Group == "" && r.Kind != "ReplicationController" {
		return field.ErrorList{field.Invalid(at, r.APIVersion, "apiVersion must specify API group")}
	}
	return nil
}

// metricSource is one of the sources that a metric may have; its name is that of the field.
type metricSource struct {
	name  string
	set   bool
	judge func(at *field.Path) field.ErrorList
}

func metricSources(m *autoscalingv2.MetricSpec) []metricSource {
	return []metricSource{
		{"object", m.Object != nil, func(at *field.Path) field.ErrorList { return validateObjectMetric(m.Object, at) }},
		{"external", m.External != nil, func(at *field.Path) field.ErrorList { return validateExternalMetric(m.External, at) }},
		{"pods", m.Pods != nil, func(at *field.Path) field.ErrorList { return validatePodsMetric(m.Pods, at) }},
		{"resource", m.Resource != nil, func(at *field.Path) field.ErrorList {
			return validateResourceMetric(string(m.Resource.Name), &m.Resource.Target, at)
		}},
		{"containerResource", m.ContainerResource != nil, func(at *field.Path) field.ErrorList {
			return validateContainerMetric(m.ContainerResource, at)
		}},
	}
}

// metricFields are the fields of the sources by the type of the metric.
var metricFields = map[autoscalingv2.MetricSourceType]string{
	autoscalingv2.ObjectMetricSourceType: "object", autoscalingv2.ExternalMetricSourceType: "external",
	autoscalingv2.PodsMetricSourceType: "pods", autoscalingv2.ResourceMetricSourceType: "resource",
	autoscalingv2.ContainerResourceMetricSourceType: "containerResource",
}

// validateMetric judges the type, the first source there is, and that it is the only one and the type's.
func validateMetric(m *autoscalingv2.MetricSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Type == "" {
		errs = append(errs, field.Required(at.Child("type"), "must specify a metric source type"))
	}
	errs = append(errs, oneOf(at.Child("type"), m.Type, autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType)...)
	want, known := metricFields[m.Type]
	found, there := false, 0
	var others field.ErrorList
	for _, s := range metricSources(m) {
		if !s.set {
			continue
		}
		if there == 0 {
			errs = append(errs, s.judge(at.Child(s.name))...)
		}
		there++
		if s.name == want {
			found = true
		} else {
			others = append(others, field.Forbidden(at.Child(s.name), "must populate the given metric source only"))
		}
	}
	if known && !found {
		errs = append(errs, field.Required(at.Child(want), "must populate information for the given metric source"))
	}
	if there > 1 {
		errs = append(errs, others...)
	}
	return errs
}

func validateObjectMetric(m *autoscalingv2.ObjectMetricSource, at *field.Path) field.ErrorList {
	errs := validateReference(&m.DescribedObject, at.Child("describedObject"))
	errs = append(errs, segment(m.Metric.Name, metricName, at.Child("metric", "name"))...)
	t := at.Child("target")
	errs = append(errs, validateTarget(&m.Target, t)...)
	if m.Target.Value == nil && m.Target.AverageValue == nil {
		errs = append(errs, field.Required(t.Child("averageValue"), "must set either a target value or averageValue"))
	}
	return errs
}

const metricName = "must specify a metric name"

func validateExternalMetric(m *autoscalingv2.ExternalMetricSource, at *field.Path) field.ErrorList {
	errs := segment(m.Metric.Name, metricName, at.Child("metric", "name"))
	t := at.Child("target")
	errs = append(errs, validateTarget(&m.Target, t)...)
	switch value, average := m.Target.Value != nil, m.Target.AverageValue != nil; {
	case value && average:
		errs = append(errs, field.Forbidden(t.Child("value"), "may not set both a target value for metric and a per-pod target"))
	case !value && !average:
		errs = append(errs, field.Required(t.Child("averageValue"), "must set either a target value for metric or a per-pod target"))
	}
	return errs
}

func validatePodsMetric(m *autoscalingv2.PodsMetricSource, at *field.Path) field.ErrorList {
	errs := segment(m.Metric.Name, metricName, at.Child("metric", "name"))
	t := at.Child("target")
	errs = append(errs, validateTarget(&m.Target, t)...)
	if m.Target.AverageValue == nil {
		errs = append(errs, field.Required(t.Child("averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

func validateContainerMetric(m *autoscalingv2.ContainerResourceMetricSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.Container == "" {
		errs = append(errs, field.Required(at.Child("container"), "must specify a container"))
	}
	return append(errs, validateResourceMetric(string(m.Name), &m.Target, at)...)
}

func validateResourceMetric(name string, target *autoscalingv2.MetricTarget, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(at.Child("name"), "must specify a resource name"))
	}
	t := at.Child("target")
	errs = append(errs, validateTarget(target, t)...)
	switch utilization, average := target.AverageUtilization != nil, target.AverageValue != nil; {
	case utilization && average:
		errs = append(errs, field.Forbidden(t.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	case !utilization && !average:
		errs = append(errs, field.Required(t.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	}
	return errs
}

func validateTarget(t *autoscalingv2.MetricTarget, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Type == "" {
		errs = append(errs, field.Required(at.Child("type"), "must specify a metric target type"))
	}
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(at.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if v := t.Value; v != nil && v.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("value"), v, "must be positive"))
	}
	if v := t.AverageValue; v != nil && v.Sign() != 1 {
		errs = append(errs, field.Invalid(at.Child("averageValue"), v, "must be positive"))
	}
	if v := t.AverageUtilization; v != nil && *v < 1 {
		errs = append(errs, field.Invalid(at.Child("averageUtilization"), *v, "must be greater than 0"))
	}
	return errs
}

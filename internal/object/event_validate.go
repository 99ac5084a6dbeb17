package object

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateEvent judges an event of core/v1. One that carries an event time is held to the stricter rules of events.k8s.io (KEP-383).
func validateEvent(e *corev1.Event) field.ErrorList {
	errs := involvedNamespace(e)
	if !e.EventTime.IsZero() {
		errs = append(errs, validateEventTexts(e, field.NewPath("reportingComponent"))...)
	}
	return errs
}

// involvedNamespace wants an event to be where its object is. Those of objects without a namespace are in the default one.
func involvedNamespace(e *corev1.Event) field.ErrorList {
	n := e.InvolvedObject.Namespace
	if n == e.Namespace || n == "" && (e.Namespace == metav1.NamespaceDefault || e.Namespace == metav1.NamespaceSystem) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("involvedObject", "namespace"), n, "does not match event.namespace")}
}

// validateNewEvent judges an event of events.k8s.io/v1, whose errors name fields as core/v1 does. An update may change the series alone.
// Events of core/v1, which have no event time, stay free when they are changed through this group.
func validateNewEvent(e, old *corev1.Event) field.ErrorList {
	errs := domainFinalizers(e)
	if e.InvolvedObject.Namespace == "" || old != nil && old.EventTime.IsZero() {
		errs = append(errs, involvedNamespace(e)...)
	}
	if old != nil && old.EventTime.IsZero() {
		return errs
	}
	if old == nil && e.EventTime.IsZero() {
		return append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	errs = append(errs, validateEventTexts(e, field.NewPath("reportingController"))...)
	if old != nil {
		return append(errs, eventStays(e, old)...)
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+e.Type))
	}
	for name, set := range inOrder(named("firstTimestamp", !e.FirstTimestamp.IsZero()), named("lastTimestamp", !e.LastTimestamp.IsZero()),
		named("count", e.Count != 0), named("source", e.Source != corev1.EventSource{})) {
		if set {
			errs = append(errs, field.Invalid(field.NewPath(name), "", "needs to be unset"))
		}
	}
	return errs
}

// validateEventTexts wants an event to say who tells what, in few words. The path is that of the reporting controller.
func validateEventTexts(e *corev1.Event, controller *field.Path) field.ErrorList {
	var errs field.ErrorList
	const long, longest = 128, 1024
	text := func(name, value string) {
		at := field.NewPath(name)
		if value == "" {
			errs = append(errs, field.Required(at, ""))
		} else if len(value) > long {
			errs = append(errs, field.Invalid(at, "", "can have at most 128 characters"))
		}
	}
	if e.ReportingController == "" {
		errs = append(errs, field.Required(controller, ""))
	}
	errs = append(errs, check(controller, e.ReportingController, nameIsQualified(e.ReportingController))...)
	text("reportingInstance", e.ReportingInstance)
	text("action", e.Action)
	text("reason", e.Reason)
	if len(e.Message) > longest {
		errs = append(errs, field.Invalid(field.NewPath("message"), "", "can have at most 1024 characters"))
	}
	if s := e.Series; s != nil {
		if s.Count < 2 {
			errs = append(errs, field.Invalid(field.NewPath("series", "count"), "", "should be at least 2"))
		}
		if s.LastObservedTime.IsZero() {
			errs = append(errs, field.Required(field.NewPath("series", "lastObservedTime"), ""))
		}
	}
	return errs
}

// eventStays wants an event to be what it was, but for its series.
func eventStays(e, old *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	same := func(name string, value, before any) {
		errs = append(errs, immutableWhole(value, before, field.NewPath(name))...)
	}
	same("involvedObject", e.InvolvedObject, old.InvolvedObject)
	same("reason", e.Reason, old.Reason)
	same("message", e.Message, old.Message)
	same("source", e.Source, old.Source)
	same("firstTimestamp", e.FirstTimestamp, old.FirstTimestamp)
	same("lastTimestamp", e.LastTimestamp, old.LastTimestamp)
	same("count", e.Count, old.Count)
	same("reportingController", e.ReportingController, old.ReportingController)
	same("reportingInstance", e.ReportingInstance, old.ReportingInstance)
	same("action", e.Action, old.Action)
	same("related", e.Related, old.Related)
	same("type", e.Type, old.Type)
	same("eventTime", e.EventTime, old.EventTime)
	return errs
}

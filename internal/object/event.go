package object

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

func eventKind() *Kind {
	events := version[eventsv1.Event, eventsv1.EventList](eventsv1.SchemeGroupVersion, "Event")
	events.FromHub, events.ToHub = eventFromCore, eventToCore
	events.FieldNames = []string{
		"regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath",
		"reason", "reportingController", "type",
	}
	stricter := rules[*corev1.Event]{Compare: validateNewEvent}.full(Namespaced, nameIsSubdomain)
	events.Strategy = &stricter
	d := doc(corev1.Event{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{
			version[corev1.Event, corev1.EventList](corev1.SchemeGroupVersion, "Event"),
			events,
		},
		Resource:       "events",
		Singular:       "event",
		ShortNames:     []string{"ev"},
		Scope:          Namespaced,
		StoragePrefix:  "events",
		CreateOnUpdate: true,
		Strategy:       rules[*corev1.Event]{Validate: validateEvent}.full(Namespaced, nameIsSegment),
		FieldNames: []string{
			"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
			"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
			"reason", "reportingComponent", "source", "type",
		},
		Fields: selectableFields(eventFields),
		Columns: []metav1.TableColumnDefinition{
			column("Last Seen", "string", d["lastTimestamp"]),
			column("Type", "string", d["type"]),
			column("Reason", "string", d["reason"]),
			column("Object", "string", d["involvedObject"]),
			wide("Subobject", "string", doc(corev1.ObjectReference{}.SwaggerDoc())["fieldPath"]),
			wide("Source", "string", d["source"]),
			column("Message", "string", d["message"]),
			wide("First Seen", "string", d["firstTimestamp"]),
			wide("Count", "string", d["count"]),
			eventName(),
		},
		Cells: cells(eventCells),
	}
}

// eventName is the wide column of an event's name, which comes last.
func eventName() metav1.TableColumnDefinition {
	c := nameColumn()
	c.Priority = 1
	return c
}

func eventFields(e *corev1.Event) fields.Set {
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	set := fields.Set{
		"reason": e.Reason, "reportingComponent": e.ReportingController, "source": source, "type": e.Type,
		"reportingController": e.ReportingController,
	}
	for _, prefix := range []string{"involvedObject.", "regarding."} {
		set[prefix+"kind"] = e.InvolvedObject.Kind
		set[prefix+"namespace"] = e.InvolvedObject.Namespace
		set[prefix+"name"] = e.InvolvedObject.Name
		set[prefix+"uid"] = string(e.InvolvedObject.UID)
		set[prefix+"apiVersion"] = e.InvolvedObject.APIVersion
		set[prefix+"resourceVersion"] = e.InvolvedObject.ResourceVersion
		set[prefix+"fieldPath"] = e.InvolvedObject.FieldPath
	}
	return set
}

func eventCells(e *corev1.Event, now time.Time) []any {
	first := since(e.FirstTimestamp, now)
	if e.FirstTimestamp.IsZero() {
		first = since(metav1.Time{Time: e.EventTime.Time}, now)
	}
	last := first
	if !e.LastTimestamp.IsZero() {
		last = since(e.LastTimestamp, now)
	}
	count := max(e.Count, 1)
	if e.Series != nil {
		last = since(metav1.Time{Time: e.Series.LastObservedTime.Time}, now)
		count = e.Series.Count
	}
	target := e.InvolvedObject.Name
	if e.InvolvedObject.Kind != "" {
		target = strings.ToLower(e.InvolvedObject.Kind) + "/" + target
	}
	component, host := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if host == "" {
		host = e.ReportingInstance
	}
	if host != "" {
		component += ", " + host
	}
	return []any{
		last, e.Type, e.Reason, target, e.InvolvedObject.FieldPath, component,
		strings.TrimSpace(e.Message), first, int64(count), e.Name,
	}
}

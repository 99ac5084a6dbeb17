package object

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
)

func eventKind() *Kind {
	events := version[eventsv1.Event, eventsv1.EventList](eventsv1.SchemeGroupVersion, "Event")
	events.FromHub, events.ToHub = eventFromCore, eventToCore
	return &Kind{
		Versions: []Version{
			version[corev1.Event, corev1.EventList](corev1.SchemeGroupVersion, "Event"),
			events,
		},
		Resource:      "events",
		Singular:      "event",
		ShortNames:    []string{"ev"},
		Scope:         Namespaced,
		StoragePrefix: "events",
	}
}

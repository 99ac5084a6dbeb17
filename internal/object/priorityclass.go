package object

import (
	schedulingv1 "k8s.io/api/scheduling/v1"
)

func priorityClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[schedulingv1.PriorityClass, schedulingv1.PriorityClassList](schedulingv1.SchemeGroupVersion, "PriorityClass")},
		Resource:      "priorityclasses",
		Singular:      "priorityclass",
		ShortNames:    []string{"pc"},
		Scope:         Cluster,
		StoragePrefix: "priorityclasses",
	}
}

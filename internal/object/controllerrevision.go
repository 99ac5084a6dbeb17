package object

import (
	appsv1 "k8s.io/api/apps/v1"
)

func controllerRevisionKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.ControllerRevision, appsv1.ControllerRevisionList](appsv1.SchemeGroupVersion, "ControllerRevision")},
		Resource:      "controllerrevisions",
		Singular:      "controllerrevision",
		Scope:         Namespaced,
		StoragePrefix: "controllerrevisions",
	}
}

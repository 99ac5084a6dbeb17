package object

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

func priorityLevelConfigurationKind() *Kind {
	return &Kind{
		Versions:      []Version{version[flowcontrolv1.PriorityLevelConfiguration, flowcontrolv1.PriorityLevelConfigurationList](flowcontrolv1.SchemeGroupVersion, "PriorityLevelConfiguration")},
		Resource:      "prioritylevelconfigurations",
		Singular:      "prioritylevelconfiguration",
		Scope:         Cluster,
		StoragePrefix: "prioritylevelconfigurations",
		Subresources: []Subresource{
			writes("status", rules[*flowcontrolv1.PriorityLevelConfiguration]{}),
		},
	}
}

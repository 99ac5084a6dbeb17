package object

import (
	resourcev1 "k8s.io/api/resource/v1"
)

func deviceTaintRuleKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.DeviceTaintRule, resourcev1.DeviceTaintRuleList](resourcev1.SchemeGroupVersion, "DeviceTaintRule")},
		Resource:      "devicetaintrules",
		Singular:      "devicetaintrule",
		Scope:         Cluster,
		StoragePrefix: "devicetaintrules",
		Subresources: []Subresource{
			writes("status", rules[*resourcev1.DeviceTaintRule]{}),
		},
	}
}

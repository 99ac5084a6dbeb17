package object

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

func flowSchemaKind() *Kind {
	return &Kind{
		Versions:      []Version{version[flowcontrolv1.FlowSchema, flowcontrolv1.FlowSchemaList](flowcontrolv1.SchemeGroupVersion, "FlowSchema")},
		Resource:      "flowschemas",
		Singular:      "flowschema",
		Scope:         Cluster,
		StoragePrefix: "flowschemas",
		Subresources: []Subresource{
			writes("status", rules[*flowcontrolv1.FlowSchema]{}),
		},
	}
}

package object

import (
	batchv1 "k8s.io/api/batch/v1"
)

func jobKind() *Kind {
	return &Kind{
		Versions:      []Version{version[batchv1.Job, batchv1.JobList](batchv1.SchemeGroupVersion, "Job")},
		Resource:      "jobs",
		Singular:      "job",
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "jobs",
		Subresources: []Subresource{
			writes("status", rules[*batchv1.Job]{}),
		},
	}
}

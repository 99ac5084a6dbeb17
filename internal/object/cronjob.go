package object

import (
	batchv1 "k8s.io/api/batch/v1"
)

func cronJobKind() *Kind {
	return &Kind{
		Versions:      []Version{version[batchv1.CronJob, batchv1.CronJobList](batchv1.SchemeGroupVersion, "CronJob")},
		Resource:      "cronjobs",
		Singular:      "cronjob",
		ShortNames:    []string{"cj"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "cronjobs",
		Subresources: []Subresource{
			writes("status", rules[*batchv1.CronJob]{}),
		},
	}
}

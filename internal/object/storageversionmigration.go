package object

import (
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
)

func storageVersionMigrationKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagemigrationv1.StorageVersionMigration, storagemigrationv1.StorageVersionMigrationList](storagemigrationv1.SchemeGroupVersion, "StorageVersionMigration")},
		Resource:      "storageversionmigrations",
		Singular:      "storageversionmigration",
		Scope:         Cluster,
		StoragePrefix: "storageversionmigrations",
		Subresources: []Subresource{
			writes("status", rules[*storagemigrationv1.StorageVersionMigration]{}),
		},
	}
}

package object

import (
	"time"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func storageVersionMigrationKind() *Kind {
	type migration = storagemigrationv1.StorageVersionMigration
	return &Kind{
		Versions: []Version{version[migration, storagemigrationv1.StorageVersionMigrationList](
			storagemigrationv1.SchemeGroupVersion, "StorageVersionMigration")},
		Resource:      "storageversionmigrations",
		Singular:      "storageversionmigration",
		Scope:         Cluster,
		StoragePrefix: "storageversionmigrations",
		Older:         map[string]func([]byte) (Object, error){"v1beta1": nil},
		Strategy: rules[*migration]{
			PrepareCreate: func(m *migration) {
				m.Status = storagemigrationv1.StorageVersionMigrationStatus{}
			},
			PrepareUpdate: func(m, old *migration) {
				m.Status = *old.Status.DeepCopy()
				nextGeneration(m, old, m.Spec, old.Spec)
			},
			Validate: func(m *migration) field.ErrorList { return validateMigratedResource(m.Spec.Resource) },
			ValidateUpdate: func(m, old *migration) field.ErrorList {
				return immutableWhole(m.Spec, old.Spec, specPath)
			},
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*migration]{
			PrepareUpdate: func(m, old *migration) {
				metav1.ResetObjectMetaForStatus(m, old)
				m.Spec = *old.Spec.DeepCopy()
			},
			ValidateUpdate: func(m, old *migration) field.ErrorList {
				errs := metavalidation.ValidateConditions(m.Status.Conditions, statusPath.Child("conditions"))
				return append(errs, validateMigratedVersion(m.Status.ResourceVersion, old.Status.ResourceVersion)...)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			column("Name", "string", metaDoc()["name"]),
			column("Resource", "string", "GroupResource to migrate"),
			column("Status", "string", "Status of the migration"),
		},
		Cells: cells(func(m *migration, _ time.Time) []any {
			r := schema.GroupResource{Group: m.Spec.Resource.Group, Resource: m.Spec.Resource.Resource}
			return []any{m.Name, r.String(), migrationState(m)}
		}),
	}
}

// migrationState is the condition of a migration that is true.
func migrationState(m *storagemigrationv1.StorageVersionMigration) string {
	for _, c := range m.Status.Conditions {
		if c.Status == metav1.ConditionTrue {
			return c.Type
		}
	}
	return "Unknown"
}

// validateMigratedVersion wants a revision, which stays once it is set.
func validateMigratedVersion(version, old string) field.ErrorList {
	at := statusPath.Child("resourceVersion")
	var errs field.ErrorList
	if version != "" {
		if _, err := resourceversion.CompareResourceVersion(version, version); err != nil {
			errs = append(errs, field.Invalid(at, version, "resource version is not well formed: "+version))
		}
	}
	if old != "" && version != old {
		errs = append(errs, field.Invalid(at, version, "field is immutable"))
	}
	return errs
}

func validateMigratedResource(r metav1.GroupResource) field.ErrorList {
	at := specPath.Child("resource")
	var errs field.ErrorList
	if r.Resource == "" {
		errs = append(errs, field.Required(at.Child("resource"), "resource is required to be set"))
	} else {
		errs = append(errs, check(at.Child("resource"), r.Resource, validation.IsDNS1035Label(r.Resource))...)
	}
	if r.Group != "" {
		errs = append(errs, check(at.Child("group"), r.Group, validation.IsDNS1123Subdomain(r.Group))...)
	}
	return errs
}

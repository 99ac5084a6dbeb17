package object

import (
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func csiNodeKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.CSINode, storagev1.CSINodeList](storagev1.SchemeGroupVersion, "CSINode")},
		Resource:      "csinodes",
		Singular:      "csinode",
		Scope:         Cluster,
		StoragePrefix: "csinodes",
		Strategy: rules[*storagev1.CSINode]{
			PrepareCreate: func(c *storagev1.CSINode) { c.Status = storagev1.CSINodeStatus{} },
			PrepareUpdate: func(c, old *storagev1.CSINode) { c.Status = *old.Status.DeepCopy() },
			Validate:      validateCSINode,
			ValidateUpdate: func(c, old *storagev1.CSINode) field.ErrorList {
				var errs field.ErrorList
				for _, o := range old.Spec.Drivers {
					for _, n := range c.Spec.Drivers {
						// How many volumes a driver can attach may change; who it is on the node may not.
						n.Allocatable, o.Allocatable = nil, nil
						if n.Name == o.Name && !apiequality.Semantic.DeepEqual(n, o) {
							errs = append(errs, field.Invalid(specPath.Child("drivers"), goform.Of(n), "field is immutable"))
						}
					}
				}
				return errs
			},
		}.full(Cluster, nameIsSubdomain),
		// What the status would tell is alpha (CSIVolumeHealth) and off: an update through it changes nothing.
		Subresources: []Subresource{writes("status", rules[*storagev1.CSINode]{
			PrepareUpdate: func(c, old *storagev1.CSINode) {
				metav1.ResetObjectMetaForStatus(c, old)
				c.Spec, c.Status = *old.Spec.DeepCopy(), *old.Status.DeepCopy()
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node"),
			ageColumn(),
		},
		Cells: cells(func(c *storagev1.CSINode, now time.Time) []any {
			return []any{c.Name, int64(len(c.Spec.Drivers)), age(c, now)}
		}),
	}
}

func validateCSINode(c *storagev1.CSINode) field.ErrorList {
	var errs field.ErrorList
	names := sets.Set[string]{}
	for i, d := range c.Spec.Drivers {
		at := specPath.Child("drivers").Index(i)
		errs = append(errs, podspec.ValidateDriverName(d.Name, at.Child("name"))...)
		if names.Has(d.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), d.Name))
		}
		names.Insert(d.Name)
		const longest = 256
		if d.NodeID == "" {
			errs = append(errs, field.Required(at.Child("nodeID"), d.NodeID))
		} else if len(d.NodeID) > longest {
			errs = append(errs, field.Invalid(at.Child("nodeID"), d.NodeID, "must be 256 characters or less"))
		}
		if a := d.Allocatable; a != nil && a.Count != nil {
			errs = append(errs, nonNegative(number{at.Child("allocatable", "count"), int64(*a.Count)})...)
		}
		keys := sets.Set[string]{}
		for _, k := range d.TopologyKeys {
			if k == "" {
				errs = append(errs, field.Required(at, ""))
			}
			if keys.Has(k) {
				errs = append(errs, field.Duplicate(at, k))
			}
			errs = append(errs, check(at, k, nameIsQualified(k))...)
			keys.Insert(k)
		}
	}
	return errs
}

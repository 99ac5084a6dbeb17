package object

import (
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func csiDriverKind() *Kind {
	d := doc(storagev1.CSIDriverSpec{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[storagev1.CSIDriver, storagev1.CSIDriverList](storagev1.SchemeGroupVersion, "CSIDriver")},
		Resource:      "csidrivers",
		Singular:      "csidriver",
		Scope:         Cluster,
		StoragePrefix: "csidrivers",
		Strategy: rules[*storagev1.CSIDriver]{
			Default: func(c *storagev1.CSIDriver) {
				s := &c.Spec
				setDefaultPtr(&s.AttachRequired, true)
				setDefaultPtr(&s.PodInfoOnMount, false)
				setDefaultPtr(&s.StorageCapacity, false)
				setDefaultPtr(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
				setDefaultPtr(&s.RequiresRepublish, false)
				setDefaultPtr(&s.SELinuxMount, false)
				setDefaultPtr(&s.PreventPodSchedulingIfMissing, false)
				if len(s.VolumeLifecycleModes) == 0 {
					s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
				}
			},
			PrepareUpdate: func(c, old *storagev1.CSIDriver) { nextGeneration(c, old, c.Spec, old.Spec) },
			Warnings: func(c, old *storagev1.CSIDriver) []string {
				if len(c.Spec.TokenRequests) == 0 || c.Spec.ServiceAccountTokenInSecrets != nil {
					return nil
				}
				if old != nil && apiequality.Semantic.DeepEqual(c.Spec.TokenRequests, old.Spec.TokenRequests) {
					return nil
				}
				return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
			},
			Validate: validateCSIDriver,
			ValidateUpdate: func(c, old *storagev1.CSIDriver) field.ErrorList {
				errs := immutable(c.Spec.AttachRequired, old.Spec.AttachRequired, specPath.Child("attachedRequired"))
				return append(errs, immutable(c.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, specPath.Child("volumeLifecycleModes"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("AttachRequired", "boolean", d["attachRequired"]),
			column("PodInfoOnMount", "boolean", d["podInfoOnMount"]),
			column("StorageCapacity", "boolean", d["storageCapacity"]),
			column("TokenRequests", "string", d["tokenRequests"]),
			column("RequiresRepublish", "boolean", d["requiresRepublish"]),
			column("Modes", "string", d["volumeLifecycleModes"]),
			ageColumn(),
		},
		Cells: cells(func(c *storagev1.CSIDriver, now time.Time) []any {
			s := &c.Spec
			tokens := "<unset>"
			if s.TokenRequests != nil {
				var all []string
				for _, t := range s.TokenRequests {
					all = append(all, t.Audience)
				}
				tokens = strings.Join(all, ",")
			}
			var modes []string
			for _, m := range s.VolumeLifecycleModes {
				modes = append(modes, string(m))
			}
			return []any{c.Name, deref(s.AttachRequired, true), deref(s.PodInfoOnMount, false), deref(s.StorageCapacity, false),
				tokens, deref(s.RequiresRepublish, false), orNone(strings.Join(modes, ",")), age(c, now)}
		}),
	}
}

func validateCSIDriver(c *storagev1.CSIDriver) field.ErrorList {
	s := &c.Spec
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"attachedRequired", s.AttachRequired != nil}, {"podInfoOnMount", s.PodInfoOnMount != nil},
		{"storageCapacity", s.StorageCapacity != nil}, {"fsGroupPolicy", s.FSGroupPolicy != nil},
	} {
		if !f.set {
			errs = append(errs, field.Required(specPath.Child(f.name), ""))
		}
	}
	if p := s.FSGroupPolicy; p != nil {
		errs = append(errs, oneOf(specPath.Child("fsGroupPolicy"), *p, storagev1.FileFSGroupPolicy,
			storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)...)
	}
	for _, m := range s.VolumeLifecycleModes {
		errs = append(errs, oneOf(specPath.Child("volumeLifecycleModes"), m, storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral)...)
	}
	seen := sets.Set[string]{}
	for i, t := range s.TokenRequests {
		at := specPath.Child("tokenRequests").Index(i)
		if seen.Has(t.Audience) {
			errs = append(errs, field.Duplicate(at.Child("audience"), t.Audience))
		}
		seen.Insert(t.Audience)
		if e := t.ExpirationSeconds; e != nil && *e < 600 {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *e, "may not specify a duration less than 10 minutes"))
		} else if e != nil && *e > 1<<32 {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *e, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	if p := s.ServiceAccountTokenInSecrets; p != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(specPath.Child("serviceAccountTokenInSecrets"), *p, "serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	if p := s.NodeAllocatableUpdatePeriodSeconds; p != nil && *p < 10 {
		errs = append(errs, field.Invalid(specPath.Child("nodeAllocatableUpdatePeriodSeconds"), *p, "must be greater than or equal to 10 seconds"))
	}
	return errs
}

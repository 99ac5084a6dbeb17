package object

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

func resourceSliceKind() *Kind {
	spec := doc(resourcev1.ResourceSliceSpec{}.SwaggerDoc())
	type slice = resourcev1.ResourceSlice
	return &Kind{
		Versions:      []Version{version[slice, resourcev1.ResourceSliceList](resourcev1.SchemeGroupVersion, "ResourceSlice")},
		Resource:      "resourceslices",
		Singular:      "resourceslice",
		Scope:         Cluster,
		StoragePrefix: "resourceslices",
		Strategy: rules[*slice]{
			PrepareCreate: func(s *slice) {
				firstGeneration(s)
				withoutAlphas(&s.Spec, &resourcev1.ResourceSliceSpec{})
				stampDeviceTaints(s, &slice{})
			},
			PrepareUpdate: func(s, old *slice) {
				stampDeviceTaints(s, old)
				nextGeneration(s, old, s.Spec, old.Spec)
				withoutAlphas(&s.Spec, &old.Spec)
			},
			Compare: validateResourceSlice,
		}.full(Cluster, nameIsSubdomain),
		FieldNames: []string{"spec.nodeName", "spec.driver"},
		Fields: selectableFields(func(s *slice) fields.Set {
			return fields.Set{"spec.nodeName": deref(s.Spec.NodeName, ""), "spec.driver": s.Spec.Driver}
		}),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Node", "string", spec["nodeName"]),
			column("Driver", "string", spec["driver"]),
			column("Pool", "string", doc(resourcev1.ResourcePool{}.SwaggerDoc())["name"]),
			ageColumn(),
		},
		Cells: cells(func(s *slice, now time.Time) []any {
			return []any{s.Name, deref(s.Spec.NodeName, ""), s.Spec.Driver, s.Spec.Pool.Name, age(s, now)}
		}),
	}
}

// stampDeviceTaints gives new taints their time.
func stampDeviceTaints(s, old *resourcev1.ResourceSlice) {
	before := map[string][]resourcev1.DeviceTaint{}
	for _, d := range old.Spec.Devices {
		before[d.Name] = d.Taints
	}
	for i := range s.Spec.Devices {
		d := &s.Spec.Devices[i]
		for k := range d.Taints {
			stampTaint(&d.Taints[k], before[d.Name]...)
		}
	}
}

// withoutAlphas leaves out what belongs to alphas that are off: lists as attributes, resources of nodes, types of partitions, and
// operations to skip. What was there before stays.
func withoutAlphas(s, old *resourcev1.ResourceSliceSpec) {
	if old.PartitionTypeAttribute == nil {
		s.PartitionTypeAttribute = nil
	}
	if len(old.SkipNodeOperations) == 0 {
		s.SkipNodeOperations = nil
	}
	lists := func(a resourcev1.DeviceAttribute) bool {
		return a.IntValues != nil || a.BoolValues != nil || a.StringValues != nil || a.VersionValues != nil
	}
	hadLists, hadResources := false, false
	for i := range old.Devices {
		for _, a := range old.Devices[i].Attributes {
			hadLists = hadLists || lists(a)
		}
		hadResources = hadResources || len(old.Devices[i].NodeAllocatableResources) > 0
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		if !hadResources {
			d.NodeAllocatableResources = nil
		}
		for name, a := range d.Attributes {
			if !hadLists && lists(a) {
				a.IntValues, a.BoolValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				d.Attributes[name] = a
			}
		}
	}
}

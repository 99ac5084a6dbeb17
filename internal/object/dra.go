package object

import (
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the kinds of dynamic resource allocation (KEP-4381) share.

func defaultClaim(s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if e := r.Exactly; e != nil {
			defaultAllocation(&e.AllocationMode, &e.Count)
			defaultDeviceTolerations(e.Tolerations)
		}
		for k := range r.FirstAvailable {
			f := &r.FirstAvailable[k]
			defaultAllocation(&f.AllocationMode, &f.Count)
			defaultDeviceTolerations(f.Tolerations)
		}
	}
}

func defaultAllocation(mode *resourcev1.DeviceAllocationMode, count *int64) {
	setDefault(mode, resourcev1.DeviceAllocationModeExactCount)
	if *mode == resourcev1.DeviceAllocationModeExactCount {
		setDefault(count, 1)
	}
}

func defaultDeviceTolerations(list []resourcev1.DeviceToleration) {
	for i := range list {
		setDefault(&list[i].Operator, resourcev1.DeviceTolerationOpEqual)
	}
}

// withoutDerived leaves derived attributes (an alpha that is off) out of a claim, unless it has some already.
func withoutDerived(s, old *resourcev1.ResourceClaimSpec) {
	if old != nil && derives(old) {
		return
	}
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if r.Exactly != nil {
			r.Exactly.DerivedAttributes = nil
		}
		for k := range r.FirstAvailable {
			r.FirstAvailable[k].DerivedAttributes = nil
		}
	}
}

func derives(s *resourcev1.ResourceClaimSpec) bool {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if r.Exactly != nil && len(r.Exactly.DerivedAttributes) > 0 {
			return true
		}
		for k := range r.FirstAvailable {
			if len(r.FirstAvailable[k].DerivedAttributes) > 0 {
				return true
			}
		}
	}
	return false
}

// AsksAdminAccess gives the requests of a claim, by their places, that want access to devices in use.
func AsksAdminAccess(s *resourcev1.ResourceClaimSpec) []int {
	var all []int
	for i, r := range s.Devices.Requests {
		if r.Exactly != nil && deref(r.Exactly.AdminAccess, false) {
			all = append(all, i)
		}
	}
	return all
}

// stampTaint gives a taint that evicts or keeps away the time that the API leaves to the server. One that was there before keeps its time.
func stampTaint(t *resourcev1.DeviceTaint, before ...resourcev1.DeviceTaint) {
	if t.TimeAdded != nil {
		return
	}
	for _, b := range before {
		if b.Key == t.Key && b.Value == t.Value && b.Effect == t.Effect && b.TimeAdded != nil {
			t.TimeAdded = b.TimeAdded.DeepCopy()
			return
		}
	}
	now := metav1.Now().Rfc3339Copy()
	t.TimeAdded = &now
}

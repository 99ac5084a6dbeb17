package object

import (
	"slices"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

type claim = resourcev1.ResourceClaim

func resourceClaimKind() *Kind {
	return &Kind{
		Versions:      []Version{version[claim, resourcev1.ResourceClaimList](resourcev1.SchemeGroupVersion, "ResourceClaim")},
		Resource:      "resourceclaims",
		Singular:      "resourceclaim",
		Scope:         Namespaced,
		StoragePrefix: "resourceclaims",
		Strategy: rules[*claim]{
			Default: func(c *claim) { defaultClaim(&c.Spec) },
			PrepareCreate: func(c *claim) {
				c.Status = resourcev1.ResourceClaimStatus{}
				withoutDerived(&c.Spec, nil)
			},
			PrepareUpdate: func(c, old *claim) {
				c.Status = *old.Status.DeepCopy()
				withoutDerived(&c.Spec, &old.Spec)
			},
			ValidateCreate: func(c *claim) field.ErrorList {
				errs, declared := validateClaimSpec(&c.Spec, specPath)
				return append(errs, declared...)
			},
			ValidateUpdate: func(c, old *claim) field.ErrorList {
				return unchanged(c.Spec, old.Spec, specPath)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*claim]{
			PrepareUpdate: func(c, old *claim) {
				c.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(c, old)
				if c.Status.Allocation == nil && old.Status.Allocation != nil {
					// What drivers told of devices that are given back is of no use any more.
					c.Status.Devices = slices.DeleteFunc(c.Status.Devices, func(d resourcev1.AllocatedDeviceStatus) bool {
						return allocated(old.Status.Allocation, &d)
					})
				}
			},
			ValidateUpdate: validateClaimStatus,
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("State", "string", "A summary of the current state (allocated, pending, reserved, etc.)."),
			ageColumn(),
		},
		Cells: cells(func(c *claim, now time.Time) []any {
			return []any{c.Name, claimState(c), age(c, now)}
		}),
	}
}

func claimState(c *claim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	switch {
	case c.Status.Allocation == nil && c.DeletionTimestamp == nil:
		states = append(states, "pending")
	case c.Status.Allocation != nil:
		states = append(states, "allocated")
		if len(c.Status.ReservedFor) > 0 {
			states = append(states, "reserved")
		}
	}
	return strings.Join(states, ",")
}

func validateClaimStatus(c, old *claim) field.ErrorList {
	const maxConsumers = 256
	s, at := &c.Status, statusPath
	var errs, declared field.ErrorList
	if n := len(s.ReservedFor); n > maxConsumers {
		errs = append(errs, field.TooMany(at.Child("reservedFor"), n, maxConsumers))
	}
	uids := sets.Set[string]{}
	for i, r := range s.ReservedFor {
		p := at.Child("reservedFor").Index(i)
		for name, value := range inOrder(named("resource", r.Resource), named("name", r.Name), named("uid", string(r.UID))) {
			if value == "" {
				errs = append(errs, field.Required(p.Child(name), ""))
			}
		}
		if uids.Has(string(r.UID)) {
			declared = append(declared, field.Duplicate(p, r))
		}
		uids.Insert(string(r.UID))
	}
	if len(s.ReservedFor) > len(old.Status.ReservedFor) && c.DeletionTimestamp != nil {
		errs = append(errs, field.Forbidden(at.Child("reservedFor"), "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
	}
	if old.Status.Allocation != nil && s.Allocation != nil && !apiequality.Semantic.DeepEqual(s.Allocation, old.Status.Allocation) {
		errs = append(errs, field.Invalid(at.Child("allocation"), s.Allocation, "field is immutable"))
	}
	if s.Allocation != nil {
		errs = append(errs, validateAllocation(c, at.Child("allocation"))...)
	}
	for i := range s.Devices {
		errs = append(errs, validateDeviceStatus(&s.Devices[i], s.Allocation, at.Child("devices").Index(i))...)
	}
	if len(s.ReservedFor) > 0 && s.Allocation == nil {
		errs = append(errs, field.Forbidden(at.Child("reservedFor"), "may not be specified when `allocated` is not set"))
	}
	return append(errs, declared...)
}

// validateDeviceStatus judges what a driver tells of a device that the claim was given.
func validateDeviceStatus(d *resourcev1.AllocatedDeviceStatus, a *resourcev1.AllocationResult, at *field.Path) field.ErrorList {
	errs := podspec.ValidateDriverName(d.Driver, at.Child("driver"))
	errs = append(errs, validatePoolName(d.Pool, at.Child("pool"))...)
	errs = append(errs, check(at.Child("device"), d.Device, nameIsLabel(d.Device, false))...)
	if !allocated(a, d) {
		shown := struct{ Driver, Pool, Device, ShareID string }{d.Driver, d.Pool, d.Device, deref(d.ShareID, "")}
		errs = append(errs, field.Invalid(at, shown, "must be an allocated device in the claim"))
	}
	errs = append(errs, metavalidation.ValidateConditions(d.Conditions, at.Child("conditions"))...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		errs = append(errs, validateOpaque(d.Data, at.Child("data"))...)
	}
	if n := d.NetworkData; n != nil {
		p := at.Child("networkData")
		errs = append(errs, notLonger(n.InterfaceName, resourcev1.NetworkDeviceDataInterfaceNameMaxLength, p.Child("interfaceName"))...)
		errs = append(errs, notLonger(n.HardwareAddress, resourcev1.NetworkDeviceDataHardwareAddressMaxLength, p.Child("hardwareAddress"))...)
		for i, ip := range n.IPs {
			errs = append(errs, validation.IsValidInterfaceAddress(p.Child("ips").Index(i), ip)...)
		}
	}
	return errs
}

func allocated(a *resourcev1.AllocationResult, d *resourcev1.AllocatedDeviceStatus) bool {
	if a == nil {
		return false
	}
	for _, r := range a.Devices.Results {
		if r.Driver == d.Driver && r.Pool == d.Pool && r.Device == d.Device {
			return true
		}
	}
	return false
}

func validateAllocation(c *claim, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.Set[string]{}
	for _, r := range c.Spec.Devices.Requests {
		names.Insert(r.Name)
		for _, f := range r.FirstAvailable {
			names.Insert(r.Name + "/" + f.Name)
		}
	}
	for i, r := range c.Status.Allocation.Devices.Results {
		p := at.Child("devices", "results").Index(i)
		errs = append(errs, knownRequest(r.Request, names, p.Child("request"))...)
		errs = append(errs, check(p.Child("device"), r.Device, nameIsLabel(r.Device, false))...)
		errs = append(errs, validateAttacher(r.Driver, p.Child("driver"))...)
		errs = append(errs, validatePoolName(r.Pool, p.Child("pool"))...)
	}
	if n := c.Status.Allocation.NodeSelector; n != nil {
		errs = append(errs, podspec.ValidateNodeSelector(n, at.Child("nodeSelector"))...)
	}
	return errs
}

// validatePoolName wants subdomains joined by slashes.
func validatePoolName(name string, at *field.Path) field.ErrorList {
	const longest = 253
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	if len(name) > longest {
		errs = append(errs, field.TooLong(at, "", longest))
	}
	for _, part := range strings.Split(name, "/") {
		errs = append(errs, check(at, part, nameIsSubdomain(part, false))...)
	}
	return errs
}

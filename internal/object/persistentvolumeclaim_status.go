package object

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateVolumeClaimStatus judges what a claim got and how far its growth is (KEP-1790).
func validateVolumeClaimStatus(s *corev1.PersistentVolumeClaimStatus) field.ErrorList {
	if s.Phase == corev1.ClaimBound && len(s.AccessModes) == 0 {
		return nil
	}
	errs := validQuantities(s.Capacity, statusPath.Child("capacity"))
	at := statusPath.Child("allocatedResourceStatuses")
	for _, name := range slices.Sorted(maps.Keys(s.AllocatedResourceStatuses)) {
		errs = append(errs, growingResource(name, at)...)
		if state := s.AllocatedResourceStatuses[name]; !slices.Contains(resizeStates, state) {
			errs = append(errs, field.NotSupported(at, name, resizeStates))
		}
	}
	at = statusPath.Child("allocatedResources")
	for _, name := range slices.Sorted(maps.Keys(s.AllocatedResources)) {
		if bad := growingResource(name, at); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		errs = append(errs, validQuantities(corev1.ResourceList{name: s.AllocatedResources[name]}, at)...)
	}
	return errs
}

var resizeStates = []corev1.ClaimResourceStatus{
	corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
	corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible, corev1.PersistentVolumeClaimNodeResizePending,
}

// growingResource: of the API's own resources only storage can grow; those of others have a domain.
func growingResource(name corev1.ResourceName, at *field.Path) field.ErrorList {
	if errs := check(at, string(name), nameIsQualified(string(name))); len(errs) > 0 {
		return errs
	}
	if !strings.Contains(string(name), "/") && name != corev1.ResourceStorage {
		return field.ErrorList{field.NotSupported(at, name, []corev1.ResourceName{corev1.ResourceStorage})}
	}
	return nil
}

// validQuantities wants amounts not to be negative.
func validQuantities(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if q := list[name]; q.Sign() < 0 {
			errs = append(errs, field.Invalid(at.Key(string(name)), q.Value(), "must be a valid resource quantity"))
		}
	}
	return errs
}

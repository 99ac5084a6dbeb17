package object

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"hyperkube/internal/object/goform"
)

// oneIP makes podIP the first of podIPs. Where they differ, podIP is what its writer knows of.
func oneIP(s *corev1.PodStatus) {
	switch {
	case s.PodIP != "" && (len(s.PodIPs) == 0 || s.PodIPs[0].IP != s.PodIP):
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	case s.PodIP == "" && len(s.PodIPs) > 0:
		s.PodIP = s.PodIPs[0].IP
	}
}

func validatePodStatus(p, old *corev1.Pod) field.ErrorList {
	at := statusPath
	const natural = "must be a non-negative integer"
	var errs field.ErrorList
	for i, c := range p.Status.Conditions {
		q := at.Child("conditions").Index(i)
		errs = append(errs, check(q.Child("Type"), string(c.Type), nameIsQualified(string(c.Type)))...)
		if c.ObservedGeneration < 0 {
			errs = append(errs, field.Invalid(q.Child("observedGeneration"), c.ObservedGeneration, natural))
		}
	}
	if n, q := p.Status.NominatedNodeName, at.Child("nominatedNodeName"); n != "" {
		errs = append(errs, check(q, n, nameIsSubdomain(n, false))...)
		if n != old.Status.NominatedNodeName && p.Spec.NodeName != "" {
			errs = append(errs, field.Forbidden(q, "may not be set on pods that are already bound to a node"))
		}
	}
	if n := p.Status.ObservedGeneration; n < 0 {
		errs = append(errs, field.Invalid(at.Child("observedGeneration"), n, natural))
	}
	errs = append(errs, immutable(p.Status.QOSClass, old.Status.QOSClass, at.Child("qosClass"))...)
	errs = append(errs, validateClaimStatuses(p, at.Child("resourceClaimStatuses"))...)
	errs = append(errs, validateExtendedClaim(p, at.Child("extendedResourceClaimStatus"))...)
	errs = append(errs, validatePodIPs(p, old)...)
	if p.Spec.RestartPolicy == corev1.RestartPolicyNever {
		errs = append(errs, neverRestarted(p.Status.ContainerStatuses, old.Status.ContainerStatuses, p.Spec.Containers, at.Child("containerStatuses"))...)
	}
	errs = append(errs, validateAllocated(p.Status.ContainerStatuses, p.Spec.Containers, at.Child("containerStatuses"))...)
	errs = append(errs, validateAllocated(p.Status.InitContainerStatuses, p.Spec.InitContainers, at.Child("initContainerStatuses"))...)
	for i, c := range p.Status.EphemeralContainerStatuses {
		if c.AllocatedResourcesStatus != nil {
			errs = append(errs, field.Forbidden(at.Child("ephemeralContainerStatuses").Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status"))
		}
	}
	return errs
}

// validatePodIPs: a pod and its node have one address of each family. hostIP is the first of hostIPs.
func validatePodIPs(p, old *corev1.Pod) field.ErrorList {
	podIPs, hostIPs := statusPath.Child("podIPs"), statusPath.Child("hostIPs")
	list, before := make([]string, 0, 2), make([]string, 0, 2)
	for _, ip := range p.Status.PodIPs {
		list = append(list, ip.IP)
	}
	for _, ip := range old.Status.PodIPs {
		before = append(before, ip.IP)
	}
	errs := onePerFamily(list, before, goform.Of(p.Status.PodIPs), podIPs)
	if len(p.Status.HostIPs) == 0 {
		return errs
	}
	if first := p.Status.HostIPs[0].IP; first != p.Status.HostIP {
		errs = append(errs, field.Invalid(hostIPs.Index(0).Child("ip"), first, "must be equal to `hostIP`"))
	}
	list, before = list[:0], before[:0]
	for _, ip := range p.Status.HostIPs {
		list = append(list, ip.IP)
	}
	for _, ip := range old.Status.HostIPs {
		before = append(before, ip.IP)
	}
	return append(errs, onePerFamily(list, before, goform.Of(p.Status.HostIPs), hostIPs)...)
}

// onePerFamily lets addresses of before pass however they are written.
func onePerFamily(list, before []string, whole any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range list {
		errs = append(errs, validation.IsValidIPForLegacyField(at.Index(i), ip, true, before)...)
	}
	if len(list) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackIPStrings(list)
	if err != nil {
		errs = append(errs, field.InternalError(at, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(list) > 2 {
		errs = append(errs, field.Invalid(at, whole, "may specify no more than one IP for each IP family"))
	}
	return errs
}

func validateClaimStatuses(p *corev1.Pod, at *field.Path) field.ErrorList {
	if len(p.Status.ResourceClaimStatuses) == 0 {
		return nil
	}
	known, seen := sets.Set[string]{}, sets.Set[string]{}
	for _, c := range p.Spec.ResourceClaims {
		known.Insert(c.Name)
	}
	var errs field.ErrorList
	for i, s := range p.Status.ResourceClaimStatuses {
		q := at.Index(i)
		switch {
		case !known.Has(s.Name):
			errs = append(errs, field.Invalid(q.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		case seen.Has(s.Name):
			errs = append(errs, field.Duplicate(q.Child("name"), s.Name))
		}
		seen.Insert(s.Name)
		if n := s.ResourceClaimName; n != nil {
			errs = append(errs, check(q.Child("resourceClaimName"), *n, nameIsSubdomain(*n, false))...)
		}
	}
	return errs
}

// validateExtendedClaim judges the claim that stands for a pod's extended resources (KEP-5004).
func validateExtendedClaim(p *corev1.Pod, at *field.Path) field.ErrorList {
	s := p.Status.ExtendedResourceClaimStatus
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	known := sets.Set[string]{}
	for i := range p.Spec.InitContainers {
		known.Insert(p.Spec.InitContainers[i].Name)
	}
	for i := range p.Spec.Containers {
		known.Insert(p.Spec.Containers[i].Name)
	}
	seen := sets.Set[corev1.ContainerExtendedResourceRequest]{}
	if len(s.RequestMappings) == 0 {
		errs = append(errs, field.Required(at.Child("requestMappings"), "at least one request mapping is required"))
	}
	for i, m := range s.RequestMappings {
		q := at.Child("requestMappings").Index(i)
		if seen.Has(m) {
			errs = append(errs, field.Duplicate(q.Child("containerName"), m.ContainerName), field.Duplicate(q.Child("resourceName"), m.ResourceName),
				field.Duplicate(q.Child("requestName"), m.RequestName))
		}
		seen.Insert(m)
		if !known.Has(m.ContainerName) {
			errs = append(errs, field.Invalid(q.Child("containerName"), m.ContainerName,
				"must match the name of an entry in spec.initContainers.name or spec.containers.name"))
		}
		errs = append(errs, check(at.Child("requestName"), m.RequestName, validation.IsDNS1123Label(m.RequestName))...)
	}
	if s.ResourceClaimName == "" {
		return append(errs, field.Required(at.Child("resourceClaimName"), ""))
	}
	return append(errs, check(at.Child("resourceClaimName"), s.ResourceClaimName, apivalidation.NameIsDNSSubdomain(s.ResourceClaimName, false))...)
}

// validateAllocated: a container's status tells of resources that it asked for.
func validateAllocated(list []corev1.ContainerStatus, containers []corev1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		if list[i].AllocatedResourcesStatus == nil {
			continue
		}
		for k := range containers {
			if containers[k].Name == list[i].Name {
				errs = append(errs, validateAllocatedOf(&list[i], &containers[k], at.Index(i).Child("allocatedResourcesStatus"))...)
			}
		}
	}
	return errs
}

func validateAllocatedOf(s *corev1.ContainerStatus, c *corev1.Container, at *field.Path) field.ErrorList {
	claims := sets.Set[string]{}
	for _, claim := range c.Resources.Claims {
		name := "claim:" + claim.Name
		if claim.Request != "" {
			name += "/" + claim.Request
		}
		claims.Insert(name)
	}
	var errs field.ErrorList
	for i, r := range s.AllocatedResourcesStatus {
		q := at.Index(i)
		_, requested := c.Resources.Requests[r.Name]
		switch {
		case strings.HasPrefix(string(r.Name), "claim:"):
			if !claims.Has(string(r.Name)) {
				errs = append(errs, field.Invalid(q.Child("name"), r.Name, "must match one of the container's resource claims as "+
					"'claim:<claimName>/<requestName>' when container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty"))
			}
		case !requested:
			errs = append(errs, field.Invalid(q.Child("name"), r.Name, "must match one of the container's resource requests"))
		}
		ids := sets.Set[corev1.ResourceID]{}
		for j, one := range r.Resources {
			if ids.Has(one.ResourceID) {
				errs = append(errs, field.Duplicate(q.Child("resources").Index(j).Child("resourceID"), one.ResourceID))
			}
			ids.Insert(one.ResourceID)
			errs = append(errs, oneOf(q.Child("resources").Index(j).Child("health"), one.Health,
				corev1.ResourceHealthStatusHealthy, corev1.ResourceHealthStatusUnhealthy, corev1.ResourceHealthStatusUnknown)...)
		}
	}
	return errs
}

// neverRestarted: in a pod that is not restarted a container that has ended stays so. Containers with
// a restart policy or rules of their own are free of this.
func neverRestarted(list, old []corev1.ContainerStatus, containers []corev1.Container, at *field.Path) field.ErrorList {
	free := sets.Set[string]{}
	for i := range containers {
		if containers[i].RestartPolicy != nil || len(containers[i].RestartPolicyRules) > 0 {
			free.Insert(containers[i].Name)
		}
	}
	var errs field.ErrorList
	for _, o := range old {
		if o.State.Terminated == nil || free.Has(o.Name) {
			continue
		}
		for i := range list {
			if list[i].Name == o.Name && list[i].State.Terminated == nil {
				errs = append(errs, field.Forbidden(at.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}

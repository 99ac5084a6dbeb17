package object

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

// validatePodResize judges an in-place resize (KEP-1287): only cpu and memory change, no request or limit goes away,
// and the quality of service stays.
func validatePodResize(p, old *corev1.Pod) field.ErrorList {
	errs := podspec.Validate(&p.Spec, podspec.Judge(&old.Spec), specPath)
	switch {
	case staticPod(p):
		return append(errs, field.Forbidden(field.NewPath(""), "static pods cannot be resized"))
	case p.Spec.OS != nil && p.Spec.OS.Name == corev1.Windows:
		return append(errs, field.Forbidden(field.NewPath(""), "windows pods cannot be resized"))
	case PodTerminal(old):
		return append(errs, field.Forbidden(field.NewPath(""), "completed pods cannot be resized"))
	}
	if slices.ContainsFunc(old.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running != nil && c.Resources == nil }) {
		// A kubelet that resizes tells what its containers have.
		errs = append(errs, field.Forbidden(specPath, "Pod running on node without support for resize"))
	}
	if QOSClass(p) != QOSClass(old) {
		errs = append(errs, field.Invalid(specPath, QOSClass(old), "Pod QOS Class may not change as a result of resizing"))
	}
	if len(p.Spec.Containers) != len(old.Spec.Containers) || len(p.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(specPath, "only cpu and memory resources are mutable"))
	}
	next := p.Spec.DeepCopy()
	errs = append(errs, resizeContainers(next.Containers, old.Spec.Containers, specPath.Child("containers"))...)
	for i := range next.InitContainers {
		c, o := &next.InitContainers[i], &old.Spec.InitContainers[i]
		if !Sidecar(o) {
			if !apiequality.Semantic.DeepEqual(c.Resources, o.Resources) {
				errs = append(errs, field.Forbidden(specPath.Child("initContainers").Index(i).Child("resources"),
					"only the resources of sidecar containers are mutable"))
				c.Resources = o.Resources
			}
			continue
		}
		errs = append(errs, resizeContainers(next.InitContainers[i:i+1], old.Spec.InitContainers[i:i+1], specPath.Child("initContainers"))...)
	}
	if next.Resources != nil && old.Spec.Resources != nil {
		errs = append(errs, keptResources(next.Resources, old.Spec.Resources, specPath.Child("resources"))...)
		takeBackComputeResources(next.Resources, old.Spec.Resources)
	}
	if !apiequality.Semantic.DeepEqual(*next, old.Spec) {
		errs = append(errs, field.Forbidden(specPath, "only cpu and memory resources are mutable"))
	}
	return errs
}

func resizeContainers(list, old []corev1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, keptResources(&list[i].Resources, &old[i].Resources, at.Index(i).Child("resources"))...)
		takeBackComputeResources(&list[i].Resources, &old[i].Resources)
	}
	return errs
}

func keptResources(r, old *corev1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if lost(r.Requests, old.Requests) {
		errs = append(errs, field.Forbidden(at.Child("requests"), "resource requests cannot be removed"))
	}
	if lost(r.Limits, old.Limits) {
		errs = append(errs, field.Forbidden(at.Child("limits"), "resource limits cannot be removed"))
	}
	return errs
}

func lost(list, old corev1.ResourceList) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		_, had := old[name]
		_, has := list[name]
		if had && !has {
			return true
		}
	}
	return false
}

// takeBackComputeResources sets cpu and memory of r back to the old values, and leaves the rest for comparison.
func takeBackComputeResources(r, old *corev1.ResourceRequirements) {
	back := func(list *corev1.ResourceList, old corev1.ResourceList) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q, had := old[name]; had {
				if *list == nil {
					*list = corev1.ResourceList{}
				}
				(*list)[name] = q
			} else {
				delete(*list, name)
			}
		}
	}
	back(&r.Requests, old.Requests)
	back(&r.Limits, old.Limits)
}

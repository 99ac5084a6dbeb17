package object

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object/podspec"
)

func podKind() *Kind {
	core := corev1.SchemeGroupVersion
	return &Kind{
		Versions:      []Version{version[corev1.Pod, corev1.PodList](core, "Pod")},
		Resource:      "pods",
		Singular:      "pod",
		ShortNames:    []string{"po"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "pods",
		Strategy: rules[*corev1.Pod]{
			Default:        defaultPod,
			PrepareCreate:  preparePod,
			PrepareUpdate:  preparePodUpdate,
			Compare:        validatePod,
			ValidateCreate: validateNewPod,
			ValidateUpdate: validatePodUpdate,
			Warnings:       podWarnings,
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{
			handled("attach", core.WithKind("PodAttachOptions"), "create", "get"),
			handled("binding", core.WithKind("Binding"), "create"),
			writes("ephemeralcontainers", rules[*corev1.Pod]{
				PrepareUpdate:  keepOnlyEphemeralContainers,
				ValidateUpdate: validateEphemeralContainersUpdate,
			}),
			handled("eviction", policyv1.SchemeGroupVersion.WithKind("Eviction"), "create"),
			handled("exec", core.WithKind("PodExecOptions"), "create", "get"),
			handled("log", schema.GroupVersionKind{}, "get"),
			handled("portforward", core.WithKind("PodPortForwardOptions"), "create", "get"),
			handled("proxy", core.WithKind("PodProxyOptions"), "create", "delete", "get", "patch", "update"),
			writes("resize", rules[*corev1.Pod]{
				PrepareUpdate:  keepOnlyResources,
				ValidateUpdate: validatePodResize,
			}),
			writes("status", rules[*corev1.Pod]{
				PrepareUpdate:  preparePodStatus,
				ValidateUpdate: validatePodStatus,
			}),
		},
		FieldNames: []string{
			"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
			"status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
		},
		Fields:        selectableFields(podFields),
		Columns:       podColumns(),
		Cells:         cells(podCells),
		RowConditions: podRowConditions,
		GracePeriod:   podGracePeriod,
	}
}

func podFields(p *corev1.Pod) fields.Set {
	ip := p.Status.PodIP
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	return fields.Set{
		"spec.nodeName":            p.Spec.NodeName,
		"spec.restartPolicy":       string(p.Spec.RestartPolicy),
		"spec.schedulerName":       p.Spec.SchedulerName,
		"spec.serviceAccountName":  p.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(p.Spec.HostNetwork),
		"status.phase":             string(p.Status.Phase),
		"status.podIP":             ip,
		"status.podIPs":            ip,
		"status.nominatedNodeName": p.Status.NominatedNodeName,
	}
}

func defaultPod(p *corev1.Pod) {
	podspec.Default(&p.Spec)
	oneIP(&p.Status)
}

func preparePod(p *corev1.Pod) {
	firstGeneration(p)
	podspec.ApplyAppArmor(p.Annotations, &p.Spec)
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: QOSClass(p)}
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = []corev1.PodCondition{{
			Type:    corev1.PodScheduled,
			Status:  corev1.ConditionFalse,
			Reason:  corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",

			LastTransitionTime: p.CreationTimestamp,
		}}
	}
	podspec.MergeLabelKeys(&p.Spec, p.Labels)
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1)
	}
}

func preparePodUpdate(p, old *corev1.Pod) {
	p.Status = old.Status // shared: nobody changes a status behind its own subresource
	nextGeneration(p, old, p.Spec, old.Spec)
}

func preparePodStatus(p, old *corev1.Pod) {
	p.Spec = old.Spec // shared with the old pod: updates of status are the most frequent writes of a cluster
	p.Generation = old.Generation
	p.DeletionTimestamp = old.DeletionTimestamp
	p.OwnerReferences = old.OwnerReferences
	p.Status.NodeAllocatableResourceClaimStatuses, p.Status.VolumeHealth = nil, nil // of features that are off
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
}

func keepOnlyEphemeralContainers(p, old *corev1.Pod) {
	added := p.Spec.EphemeralContainers
	keepIdentity(p, old)
	p.Spec.EphemeralContainers = added
	nextGeneration(p, old, p.Spec, old.Spec)
}

// keepOnlyResources leaves of an update only what a resize may change: the resources and resize policies of the
// containers and the pod. Containers that are not the old ones stay, so that validation sees them.
func keepOnlyResources(p, old *corev1.Pod) {
	spec := p.Spec
	keepIdentity(p, old)
	p.Spec.Containers = resized(spec.Containers, p.Spec.Containers)
	p.Spec.InitContainers = resized(spec.InitContainers, p.Spec.InitContainers)
	p.Spec.Resources = spec.Resources
	nextGeneration(p, old, p.Spec, old.Spec)
}

func resized(wanted, current []corev1.Container) []corev1.Container {
	out := slices.Clone(wanted)
	for i := range out {
		for j := range current {
			if current[j].Name == wanted[i].Name {
				out[i] = *current[j].DeepCopy()
				out[i].Resources, out[i].ResizePolicy = wanted[i].Resources, wanted[i].ResizePolicy
			}
		}
	}
	return out
}

// keepIdentity makes p the old pod, but for what says which version it replaces and who changed it.
func keepIdentity(p, old *corev1.Pod) {
	next := old.DeepCopy()
	next.TypeMeta = p.TypeMeta
	next.Name, next.Namespace, next.UID = p.Name, p.Namespace, p.UID
	next.ResourceVersion, next.ManagedFields = p.ResourceVersion, p.ManagedFields
	*p = *next
}

// podGracePeriod: pods that no kubelet looks after, or whose containers have ended, go at once.
func podGracePeriod(obj Object, opts *metav1.DeleteOptions) (int64, bool) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return 0, false
	}
	var seconds int64
	switch {
	case opts != nil && opts.GracePeriodSeconds != nil:
		seconds = *opts.GracePeriodSeconds
	case p.Spec.TerminationGracePeriodSeconds != nil:
		seconds = *p.Spec.TerminationGracePeriodSeconds
	}
	if p.Spec.NodeName == "" || PodTerminal(p) {
		seconds = 0
	}
	if seconds < 0 {
		seconds = 1
	}
	return seconds, seconds > 0
}

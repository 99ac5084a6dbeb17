package plugins

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	resourcehelper "k8s.io/component-helpers/resource"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

// limitRanger gives containers the default requests and limits of their namespace and holds pods and claims to its bounds.
type limitRanger struct {
	ranges *client.Informer[*corev1.LimitRange]
}

const limitRangerAnnotation = "kubernetes.io/limit-ranger"

func newLimitRanger(c *Config) *limitRanger {
	return &limitRanger{client.InformerFor(c.Informers, limitRanges)}
}

func (*limitRanger) Name() string { return "LimitRanger" }

func (p *limitRanger) Mutate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create {
		return nil
	}
	for _, r := range p.ranges.InNamespace(a.Namespace) {
		requests, limits := containerDefaults(r)
		applyDefaults(pod, requests, limits)
	}
	return nil
}

// containerDefaults are what a container gets that does not say. A maximum alone is a default limit, and a default
// limit alone is a default request.
func containerDefaults(r *corev1.LimitRange) (requests, limits corev1.ResourceList) {
	requests, limits = corev1.ResourceList{}, corev1.ResourceList{}
	for i := range r.Spec.Limits {
		l := &r.Spec.Limits[i]
		if l.Type != corev1.LimitTypeContainer {
			continue
		}
		for k, v := range l.DefaultRequest {
			requests[k] = v
		}
		for k, v := range l.Default {
			limits[k] = v
		}
	}
	return requests, limits
}

func applyDefaults(pod *corev1.Pod, requests, limits corev1.ResourceList) {
	var notes []string
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		kind := "container"
		if len(list) > 0 && len(pod.Spec.InitContainers) > 0 && &list[0] == &pod.Spec.InitContainers[0] {
			kind = "init container"
		}
		for i := range list {
			c := &list[i]
			if set := fill(&c.Resources.Requests, requests); len(set) > 0 {
				notes = append(notes, fmt.Sprintf("%s request for %s %s", strings.Join(set, ", "), kind, c.Name))
			}
			if set := fill(&c.Resources.Limits, limits); len(set) > 0 {
				notes = append(notes, fmt.Sprintf("%s limit for %s %s", strings.Join(set, ", "), kind, c.Name))
			}
		}
	}
	if len(notes) == 0 {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[limitRangerAnnotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
}

// fill adds the missing entries and names them.
func fill(have *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var set []string
	for k, v := range defaults {
		if _, ok := (*have)[k]; ok {
			continue
		}
		if *have == nil {
			*have = corev1.ResourceList{}
		}
		(*have)[k] = v.DeepCopy()
		set = append(set, string(k))
	}
	slices.Sort(set)
	return set
}

func (p *limitRanger) Validate(_ context.Context, a *admission.Attributes) error {
	var check func(*corev1.LimitRangeItem) []error
	switch o := a.Object.(type) {
	case *corev1.Pod:
		create := a.Operation == admission.Create && a.Subresource == ""
		if a.GVR.Resource != "pods" || !create && a.Subresource != "resize" {
			return nil
		}
		check = func(l *corev1.LimitRangeItem) []error { return podBounds(o, l) }
	case *corev1.PersistentVolumeClaim:
		if a.Subresource != "" || a.Operation != admission.Create && a.Operation != admission.Update {
			return nil
		}
		check = func(l *corev1.LimitRangeItem) []error { return claimBounds(o, l) }
	default:
		return nil
	}
	var errs []error
	for _, r := range p.ranges.InNamespace(a.Namespace) {
		for i := range r.Spec.Limits {
			errs = append(errs, check(&r.Spec.Limits[i])...)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return admission.Forbidden(a, utilerrors.NewAggregate(errs).Error())
}

func claimBounds(pvc *corev1.PersistentVolumeClaim, l *corev1.LimitRangeItem) (errs []error) {
	if l.Type != corev1.LimitTypePersistentVolumeClaim {
		return nil
	}
	for k, bound := range l.Min {
		errs = appendError(errs, least(l.Type, k, bound, pvc.Spec.Resources.Requests, nil))
	}
	for k, bound := range l.Max {
		if have, ok := pvc.Spec.Resources.Requests[k]; ok && have.Cmp(bound) > 0 {
			errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", k, l.Type, bound.String(), have.String()))
		}
	}
	return errs
}

func podBounds(pod *corev1.Pod, l *corev1.LimitRangeItem) (errs []error) {
	switch l.Type {
	case corev1.LimitTypeContainer:
		for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range list {
				errs = append(errs, bounds(l, list[i].Resources.Requests, list[i].Resources.Limits)...)
			}
		}
	case corev1.LimitTypePod:
		o := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
		errs = bounds(l, resourcehelper.PodRequests(pod, o), resourcehelper.PodLimits(pod, o))
	}
	return errs
}

// bounds compares requests and limits with one item of a limit range.
func bounds(l *corev1.LimitRangeItem, requests, limits corev1.ResourceList) (errs []error) {
	for _, k := range sortedKeys(l.Min) {
		errs = appendError(errs, least(l.Type, k, l.Min[k], requests, limits))
	}
	for _, k := range sortedKeys(l.Max) {
		errs = appendError(errs, most(l.Type, k, l.Max[k], requests, limits))
	}
	for _, k := range sortedKeys(l.MaxLimitRequestRatio) {
		errs = appendError(errs, ratio(l.Type, k, l.MaxLimitRequestRatio[k], requests, limits))
	}
	return errs
}

func appendError(errs []error, err error) []error {
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

func sortedKeys(l corev1.ResourceList) []corev1.ResourceName {
	keys := make([]corev1.ResourceName, 0, len(l))
	for k := range l {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func least(t corev1.LimitType, k corev1.ResourceName, bound resource.Quantity, requests, limits corev1.ResourceList) error {
	request, ok := requests[k]
	limit, limited := limits[k]
	switch {
	case !ok:
		return fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", k, t, bound.String())
	case request.Cmp(bound) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but request is %s", k, t, bound.String(), request.String())
	case limited && limit.Cmp(bound) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", k, t, bound.String(), limit.String())
	}
	return nil
}

func most(t corev1.LimitType, k corev1.ResourceName, bound resource.Quantity, requests, limits corev1.ResourceList) error {
	request, requested := requests[k]
	limit, ok := limits[k]
	switch {
	case !ok:
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", k, t, bound.String())
	case limit.Cmp(bound) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", k, t, bound.String(), limit.String())
	case requested && request.Cmp(bound) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", k, t, bound.String(), request.String())
	}
	return nil
}

func ratio(t corev1.LimitType, k corev1.ResourceName, bound resource.Quantity, requests, limits corev1.ResourceList) error {
	request, limit := requests[k], limits[k]
	if request.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", k, t, bound.String())
	}
	if limit.IsZero() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", k, t, bound.String())
	}
	have := limit.AsApproximateFloat64() / request.AsApproximateFloat64()
	if have > bound.AsApproximateFloat64() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", k, t, bound.String(), have)
	}
	return nil
}

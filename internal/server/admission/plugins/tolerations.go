package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
)

const (
	defaultTolerationsAnnotation = "scheduler.alpha.kubernetes.io/defaultTolerations"
	allowedTolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
)

// tolerationRestriction gives pods the tolerations of their namespace, and holds them to those that it allows.
type tolerationRestriction struct {
	api client.Interface
	// defaults and allowed are for namespaces that say nothing.
	defaults, allowed []corev1.Toleration
}

func newTolerationRestriction(c *Config) (*tolerationRestriction, error) {
	var doc struct {
		metav1.TypeMeta `json:",inline"`
		Default         []corev1.Toleration `json:"default,omitempty"`
		Whitelist       []corev1.Toleration `json:"whitelist,omitempty"`
	}
	_, err := c.Settings.Decode("PodTolerationRestriction", "podtolerationrestriction.admission.k8s.io/v1alpha1", "Configuration", &doc)
	return &tolerationRestriction{api: c.API, defaults: doc.Default, allowed: doc.Whitelist}, err
}

func (*tolerationRestriction) Name() string { return "PodTolerationRestriction" }

func (p *tolerationRestriction) Mutate(ctx context.Context, a *admission.Attributes) error {
	pod := p.pod(a)
	if pod == nil {
		return nil
	}
	all := pod.Spec.Tolerations
	if a.Operation == admission.Create {
		given, err := p.of(ctx, a.Namespace, defaultTolerationsAnnotation, p.defaults)
		if err != nil {
			return err
		}
		all = merge(given, all)
	}
	if object.QOSClass(pod) != corev1.PodQOSBestEffort {
		all = merge(all, []corev1.Toleration{{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}})
	}
	pod.Spec.Tolerations = all
	return nil
}

func (p *tolerationRestriction) Validate(ctx context.Context, a *admission.Attributes) error {
	pod := p.pod(a)
	if pod == nil || len(pod.Spec.Tolerations) == 0 {
		return nil
	}
	allowed, err := p.of(ctx, a.Namespace, allowedTolerationsAnnotation, p.allowed)
	if err != nil || len(allowed) == 0 {
		return err
	}
	for _, t := range pod.Spec.Tolerations {
		if !slices.ContainsFunc(allowed, func(by corev1.Toleration) bool { return covers(by, t) }) {
			return admission.Forbidden(a, "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist")
		}
	}
	return nil
}

func (*tolerationRestriction) pod(a *admission.Attributes) *corev1.Pod {
	if !a.Is("", "pods", "") || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	pod, _ := a.Object.(*corev1.Pod)
	return pod
}

// of reads an annotation of a namespace, or takes what is usual.
func (p *tolerationRestriction) of(ctx context.Context, namespace, annotation string, usual []corev1.Toleration) ([]corev1.Toleration, error) {
	ns, err := find(ctx, p.api, client.Namespaces, "", namespace)
	if err != nil {
		return nil, err
	}
	text, ok := ns.Annotations[annotation]
	if !ok {
		return usual, nil
	}
	if text == "" {
		return nil, nil
	}
	var list []corev1.Toleration
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("annotation %s of namespace %s: %w", annotation, namespace, err)
	}
	return list, nil
}

// merge joins two lists and leaves out what another entry covers.
func merge(first, second []corev1.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	all := slices.Concat(first, second)
	for i, t := range all {
		covered := func(j int, by corev1.Toleration) bool { return j != i && covers(by, t) && (j < i || !covers(t, by)) }
		redundant := false
		for j := range all {
			redundant = redundant || covered(j, all[j])
		}
		if !redundant {
			out = append(out, t)
		}
	}
	return out
}

// covers says whether a toleration tolerates all that another does, for as long.
func covers(by, t corev1.Toleration) bool {
	switch {
	case by.Key != t.Key && !(by.Key == "" && by.Operator == corev1.TolerationOpExists):
		return false
	case by.Effect != t.Effect && by.Effect != "":
		return false
	case by.Effect == corev1.TaintEffectNoExecute && by.TolerationSeconds != nil && (t.TolerationSeconds == nil || *by.TolerationSeconds < *t.TolerationSeconds):
		return false
	case by.Operator == corev1.TolerationOpExists:
		return true
	case by.Operator == "" || by.Operator == corev1.TolerationOpEqual:
		return (t.Operator == "" || t.Operator == corev1.TolerationOpEqual) && by.Value == t.Value
	}
	return by.Operator == t.Operator && by.Value == t.Value
}

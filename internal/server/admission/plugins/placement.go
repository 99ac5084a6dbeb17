package plugins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"hyperkube/internal/client"
	"hyperkube/internal/object/podspec"
	"hyperkube/internal/server/admission"
)

// hardAntiAffinity keeps pods from shutting others out of more than one node.
type hardAntiAffinity struct{}

func (hardAntiAffinity) Name() string { return "LimitPodHardAntiAffinityTopology" }

func (hardAntiAffinity) Validate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return nil
	}
	for _, t := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		if t.TopologyKey != corev1.LabelHostname {
			return admission.Forbidden(a, fmt.Sprintf("affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey %v but only key %v is allowed", t.TopologyKey, corev1.LabelHostname))
		}
	}
	return nil
}

// extendedToleration lets pods that ask for extended resources onto the nodes that are tainted with the resource's name.
type extendedToleration struct{}

func (extendedToleration) Name() string { return "ExtendedResourceToleration" }

func (extendedToleration) Mutate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	names := sets.Set[string]{}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for name := range list[i].Resources.Requests {
				if podspec.ExtendedResource(name) {
					names.Insert(string(name))
				}
			}
		}
	}
	for _, name := range sets.List(names) {
		addToleration(pod, corev1.Toleration{Key: name, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	return nil
}

func addToleration(pod *corev1.Pod, want corev1.Toleration) {
	if !slices.ContainsFunc(pod.Spec.Tolerations, func(have corev1.Toleration) bool { return covers(have, want) }) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, want)
	}
}

// nodeSelectorAnnotation is the node selector that a namespace gives its pods.
const nodeSelectorAnnotation = "scheduler.alpha.kubernetes.io/node-selector"

// podNodeSelector gives pods the node selector of their namespace, and holds them to those that its configuration allows.
type podNodeSelector struct {
	api client.Interface
	// defaults is for namespaces without the annotation; allowed is by namespace.
	defaults string
	allowed  map[string]string
}

func newPodNodeSelector(c *Config) (*podNodeSelector, error) {
	var doc struct {
		Selectors map[string]string `json:"podNodeSelectorPluginConfig"`
	}
	if _, err := c.Settings.Decode("PodNodeSelector", "", "", &doc); err != nil {
		return nil, err
	}
	const cluster = "clusterDefaultNodeSelector"
	p := &podNodeSelector{api: c.API, defaults: doc.Selectors[cluster], allowed: doc.Selectors}
	delete(p.allowed, cluster)
	for _, s := range append(slices.Collect(maps.Values(p.allowed)), p.defaults) {
		if _, err := labels.ConvertSelectorToLabelsMap(s); err != nil {
			return nil, fmt.Errorf("node selector %q: %w", s, err)
		}
	}
	return p, nil
}

func (*podNodeSelector) Name() string { return "PodNodeSelector" }

func (p *podNodeSelector) Mutate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create {
		return nil
	}
	want, err := p.of(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if labels.Conflicts(want, labels.Set(pod.Spec.NodeSelector)) {
		return admission.Forbidden(a, errSelectorConflict.Error())
	}
	if merged := labels.Merge(want, labels.Set(pod.Spec.NodeSelector)); len(merged) > 0 {
		pod.Spec.NodeSelector = merged
	}
	return nil
}

var errSelectorConflict = errors.New("pod node label selector conflicts with its namespace node label selector")

func (p *podNodeSelector) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create {
		return nil
	}
	want, err := p.of(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if labels.Conflicts(want, labels.Set(pod.Spec.NodeSelector)) {
		return admission.Forbidden(a, errSelectorConflict.Error())
	}
	allowed, err := labels.ConvertSelectorToLabelsMap(p.allowed[a.Namespace])
	if err != nil {
		return err
	}
	if len(allowed) == 0 {
		return nil
	}
	for k, v := range pod.Spec.NodeSelector {
		if have, ok := allowed[k]; !ok || have != v {
			return admission.Forbidden(a, "pod node label selector labels conflict with its namespace whitelist")
		}
	}
	return nil
}

// of is the node selector of a namespace.
func (p *podNodeSelector) of(ctx context.Context, namespace string) (labels.Set, error) {
	ns, err := find(ctx, p.api, client.Namespaces, "", namespace)
	if err != nil {
		return nil, err
	}
	text, ok := ns.Annotations[nodeSelectorAnnotation]
	if !ok {
		text = p.defaults
	}
	return labels.ConvertSelectorToLabelsMap(text)
}

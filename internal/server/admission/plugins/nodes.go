package plugins

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

// taintNodes keeps pods off a new node until the node controller has seen that it is ready.
type taintNodes struct{}

func (taintNodes) Name() string { return "TaintNodesByCondition" }

func (taintNodes) Mutate(_ context.Context, a *admission.Attributes) error {
	node, ok := a.Object.(*corev1.Node)
	if !ok || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	return nil
}

// podTopology tells pods the zone and region of their node by labels, for the downward API (KEP-4742).
type podTopology struct{ api client.Interface }

func (*podTopology) Name() string { return "PodTopologyLabels" }

func (p *podTopology) Mutate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create {
		return nil
	}
	switch o := a.Object.(type) {
	case *corev1.Binding:
		if o.Target.Kind == "Node" || o.Target.Kind == "" {
			return p.label(ctx, o.Target.Name, &o.Labels)
		}
	case *corev1.Pod:
		if a.Subresource == "" && o.Spec.NodeName != "" {
			return p.label(ctx, o.Spec.NodeName, &o.Labels)
		}
	}
	return nil
}

func (p *podTopology) label(ctx context.Context, node string, labels *map[string]string) error {
	if node == "" {
		return nil // which is refused later
	}
	n, err := find(ctx, p.api, client.Nodes, "", node)
	if apierrors.IsNotFound(err) {
		return nil // a pod may be bound to a node that is yet to come
	}
	if err != nil {
		return err
	}
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		v, ok := n.Labels[key]
		if !ok {
			continue
		}
		if *labels == nil {
			*labels = map[string]string{}
		}
		(*labels)[key] = v
	}
	return nil
}

// defaultTolerations lets pods stay for a time on a node that is not ready or not reachable.
type defaultTolerations struct{ notReady, unreachable int64 }

func newDefaultTolerations(c *Config) defaultTolerations {
	const usual = 300
	return defaultTolerations{ptr.Deref(c.NotReadySeconds, usual), ptr.Deref(c.UnreachableSeconds, usual)}
}

func (defaultTolerations) Name() string { return "DefaultTolerationSeconds" }

func (d defaultTolerations) Mutate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	for _, taint := range []struct {
		key     string
		seconds int64
	}{{corev1.TaintNodeNotReady, d.notReady}, {corev1.TaintNodeUnreachable, d.unreachable}} {
		tolerated := slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
			return (t.Key == taint.key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
		})
		if !tolerated {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: taint.key, Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &taint.seconds})
		}
	}
	return nil
}

// alwaysPull makes every pod pull its images anew, so that only who has the credentials can use them.
type alwaysPull struct{}

func (alwaysPull) Name() string { return "AlwaysPullImages" }

func (alwaysPull) Mutate(_ context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.GVR.Resource != "pods" || a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].ImagePullPolicy = corev1.PullAlways
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		pod.Spec.EphemeralContainers[i].ImagePullPolicy = corev1.PullAlways
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Image; v != nil && v.Reference != "" {
			v.PullPolicy = corev1.PullAlways
		}
	}
	return nil
}

// denyExternalIPs keeps services from taking addresses that belong to others (CVE-2020-8554).
type denyExternalIPs struct{}

func (denyExternalIPs) Name() string { return "DenyServiceExternalIPs" }

func (denyExternalIPs) Validate(_ context.Context, a *admission.Attributes) error {
	svc, ok := a.Object.(*corev1.Service)
	if !ok || a.Subresource != "" {
		return nil
	}
	var old []string
	if o, ok := a.OldObject.(*corev1.Service); ok {
		old = o.Spec.ExternalIPs
	}
	for _, ip := range svc.Spec.ExternalIPs {
		if !slices.Contains(old, ip) {
			return admission.Forbidden(a, "Use of external IPs is denied by admission control.")
		}
	}
	return nil
}

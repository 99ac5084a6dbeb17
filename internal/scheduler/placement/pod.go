package placement

import (
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
)

// Pod is a pod made ready for decisions. Its parts are parsed once and must not be changed.
type Pod struct {
	Object   *corev1.Pod
	Priority int32

	requests, scoring Resources
	ports             []hostPort
	template          string // key of what depends on the node object alone

	affinity, antiAffinity   []*Term
	preferred, antiPreferred []weighted
	err                      error // of a selector that does not parse

	node *Node // nil while it is on none
	slot int   // in node.pods
}

type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

type weighted struct {
	term   *Term
	weight int64
}

// Term is one pod affinity term. Equal terms have equal keys.
type Term struct {
	key        string
	namespaces []string        // sorted
	selects    labels.Selector // of namespaces; nil: none besides the list
	pods       labels.Selector
	topology   string
}

// NewPod makes a pod ready. What cannot be parsed shows when the pod is placed.
func NewPod(obj *corev1.Pod) *Pod {
	p := &Pod{Object: obj, Priority: schedulinghelper.PodPriority(obj), requests: requestsOf(obj)}
	p.scoring = scoringRequestsOf(obj, p.requests)
	p.ports = hostPortsOf(obj)
	p.template = templateOf(obj)
	if a := obj.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			p.affinity = p.terms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			p.preferred = p.weightedTerms(a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			p.antiAffinity = p.terms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			p.antiPreferred = p.weightedTerms(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
	return p
}

// UID of the pod.
func (p *Pod) UID() types.UID { return p.Object.UID }

// Node that the state has the pod on; "" for none.
func (p *Pod) Node() string {
	if p.node == nil {
		return ""
	}
	return p.node.Name
}

func (p *Pod) terms(in []corev1.PodAffinityTerm) (out []*Term) {
	for i := range in {
		if t := p.term(&in[i]); t != nil {
			out = append(out, t)
		}
	}
	return out
}

func (p *Pod) weightedTerms(in []corev1.WeightedPodAffinityTerm) (out []weighted) {
	for i := range in {
		if t := p.term(&in[i].PodAffinityTerm); t != nil {
			out = append(out, weighted{t, int64(in[i].Weight)})
		}
	}
	return out
}

func (p *Pod) term(in *corev1.PodAffinityTerm) *Term {
	t := &Term{topology: in.TopologyKey}
	var err error
	if t.pods, err = metav1.LabelSelectorAsSelector(in.LabelSelector); err != nil {
		p.err = err
		return nil
	}
	t.pods = withKeys(t.pods, p.Object.Labels, in.MatchLabelKeys, false)
	t.pods = withKeys(t.pods, p.Object.Labels, in.MismatchLabelKeys, true)
	if in.NamespaceSelector != nil {
		if t.selects, err = metav1.LabelSelectorAsSelector(in.NamespaceSelector); err != nil {
			p.err = err
			return nil
		}
	}
	t.namespaces = append(t.namespaces, in.Namespaces...)
	if len(t.namespaces) == 0 && t.selects == nil {
		t.namespaces = []string{p.Object.Namespace}
	}
	sort.Strings(t.namespaces)
	t.key = t.makeKey()
	return t
}

// withKeys adds that the pod's own value of each label is, or is not, wanted.
func withKeys(s labels.Selector, own map[string]string, keys []string, mismatch bool) labels.Selector {
	for _, k := range keys {
		v, ok := own[k]
		if !ok {
			continue
		}
		s = s.Add(equals(k, v, mismatch)...)
	}
	return s
}

func (t *Term) makeKey() string {
	selects := "-"
	if t.selects != nil {
		selects = "+" + t.selects.String()
	}
	return strings.Join(t.namespaces, ",") + "|" + selects + "|" + selectorKey(t.pods) + "|" + t.topology
}

// selectorKey tells a selector that selects nothing from one that selects everything.
func selectorKey(s labels.Selector) string {
	if _, selectable := s.Requirements(); !selectable {
		return "!"
	}
	return s.String()
}

func hostPortsOf(pod *corev1.Pod) (out []hostPort) {
	add := func(cs []corev1.Container, sidecars bool) {
		for i := range cs {
			if sidecars && (cs[i].RestartPolicy == nil || *cs[i].RestartPolicy != corev1.ContainerRestartPolicyAlways) {
				continue
			}
			for _, p := range cs[i].Ports {
				if p.HostPort > 0 {
					out = append(out, hostPort{anyAddress(p.HostIP), orTCP(p.Protocol), p.HostPort})
				}
			}
		}
	}
	add(pod.Spec.InitContainers, true)
	add(pod.Spec.Containers, false)
	return out
}

func anyAddress(ip string) string {
	if ip == "" {
		return "0.0.0.0"
	}
	return ip
}

func orTCP(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// conflicts says whether two ports cannot both be open: the same port on the same address, or on all of them.
func (h hostPort) conflicts(o hostPort) bool {
	return h.port == o.port && h.protocol == o.protocol && (h.ip == o.ip || h.ip == "0.0.0.0" || o.ip == "0.0.0.0")
}

// templateOf is equal for pods that ask the same of a node object: selectors, tolerations, images.
func templateOf(pod *corev1.Pod) string {
	var b strings.Builder
	if len(pod.Spec.NodeSelector) > 0 {
		b.WriteString(labels.Set(pod.Spec.NodeSelector).String())
	}
	b.WriteByte('|')
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		b.WriteString(a.NodeAffinity.String())
	}
	b.WriteByte('|')
	for i := range pod.Spec.Tolerations {
		t := &pod.Spec.Tolerations[i]
		b.WriteString(t.Key + "," + string(t.Operator) + "," + t.Value + "," + string(t.Effect) + ";")
	}
	b.WriteByte('|')
	for i := range pod.Spec.InitContainers {
		b.WriteString(pod.Spec.InitContainers[i].Image + ";")
	}
	b.WriteString(strconv.Itoa(len(pod.Spec.InitContainers)) + "|")
	for i := range pod.Spec.Containers {
		b.WriteString(pod.Spec.Containers[i].Image + ";")
	}
	return b.String()
}

// Terminal says whether a pod has ended and takes nothing of its node.
func Terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// AsksLess says whether the pod needs less of some resource than another version of it.
func (p *Pod) AsksLess(than *Pod) bool {
	a, b := &p.requests, &than.requests
	if a.CPU < b.CPU || a.Memory < b.Memory || a.Ephemeral < b.Ephemeral {
		return true
	}
	for name, v := range b.Other {
		if a.Other[name] < v {
			return true
		}
	}
	return false
}

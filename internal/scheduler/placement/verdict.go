package placement

import (
	"fmt"
	"sort"
	"strings"
)

// Code is what a filter says of a node.
type Code uint8

// The verdicts of filters.
const (
	OK Code = iota
	// Unschedulable: not now; without some other pods the node may do.
	Unschedulable
	// Unresolvable: not while the pod and the node stay as they are, whatever other pods do.
	Unresolvable
)

// Plugin is one of upstream's plugins.
type Plugin uint8

// The plugins, in the order in which filters run.
const (
	NodeUnschedulable Plugin = iota
	NodeName
	TaintToleration
	NodeAffinity
	NodePorts
	NodeResourcesFit
	PodTopologySpread
	InterPodAffinity
	NodeResourcesBalancedAllocation
	ImageLocality
	DefaultPreemption
	SchedulingGates
	PrioritySort
	DefaultBinder
	pluginCount
)

// pluginNames are upstream's.
var pluginNames = [pluginCount]string{
	"NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
	"PodTopologySpread", "InterPodAffinity", "NodeResourcesBalancedAllocation", "ImageLocality",
	"DefaultPreemption", "SchedulingGates", "PrioritySort", "DefaultBinder",
}

// String is upstream's name of the plugin.
func (p Plugin) String() string { return pluginNames[p] }

// Plugins are all of them.
func Plugins() (out []Plugin) {
	for p := range pluginCount {
		out = append(out, p)
	}
	return out
}

// PluginNamed finds a plugin by upstream's name.
func PluginNamed(name string) (Plugin, bool) {
	for i, n := range pluginNames {
		if n == name {
			return Plugin(i), true
		}
	}
	return 0, false
}

// PluginSet is a set of plugins.
type PluginSet uint32

// Has says whether p is in the set.
func (s PluginSet) Has(p Plugin) bool { return s&(1<<p) != 0 }

// With is the set and p.
func (s PluginSet) With(p Plugin) PluginSet { return s | 1<<p }

// Without is the set less p.
func (s PluginSet) Without(p Plugin) PluginSet { return s &^ (1 << p) }

// Names of the plugins in the set.
func (s PluginSet) Names() (out []string) {
	for p := range pluginCount {
		if s.Has(p) {
			out = append(out, p.String())
		}
	}
	return out
}

// verdict of one filter that refuses a node; nil is OK. Those without details are shared.
type verdict struct {
	code   Code
	plugin Plugin
	reason string
	more   []string // further reasons
}

// The reasons, in upstream's words: tools and people look for them.
const (
	reasonUnschedulable    = "node(s) were unschedulable"
	reasonNodeName         = "node(s) didn't match the requested node name"
	reasonTaint            = "node(s) had untolerated taint(s)"
	reasonNodeAffinity     = "node(s) didn't match Pod's node affinity/selector"
	reasonAddedAffinity    = "node(s) didn't match scheduler-enforced node affinity"
	reasonPorts            = "node(s) didn't have free ports for the requested pod ports"
	reasonTooManyPods      = "Too many pods"
	reasonSpread           = "node(s) didn't match pod topology spread constraints"
	reasonSpreadLabel      = "node(s) didn't match pod topology spread constraints (missing required label)"
	reasonAffinity         = "node(s) didn't match pod affinity rules"
	reasonAntiAffinity     = "node(s) didn't match pod anti-affinity rules"
	reasonExistingAnti     = "node(s) didn't satisfy existing pods anti-affinity rules"
	reasonNoVictims        = "No preemption victims found for incoming pod"
	reasonPreemptionUseful = "Preemption is not helpful for scheduling"
)

// Code of a verdict.
func (v *verdict) Code() Code {
	if v == nil {
		return OK
	}
	return v.code
}

// The verdicts that are always the same. Never changed.
var (
	refusedUnschedulable = verdict{code: Unresolvable, plugin: NodeUnschedulable, reason: reasonUnschedulable}
	refusedName          = verdict{code: Unresolvable, plugin: NodeName, reason: reasonNodeName}
	refusedTaint         = verdict{code: Unresolvable, plugin: TaintToleration, reason: reasonTaint}
	refusedNodeAffinity  = verdict{code: Unresolvable, plugin: NodeAffinity, reason: reasonNodeAffinity}
	refusedAdded         = verdict{code: Unresolvable, plugin: NodeAffinity, reason: reasonAddedAffinity}
	refusedPorts         = verdict{code: Unschedulable, plugin: NodePorts, reason: reasonPorts}
	refusedSpread        = verdict{code: Unschedulable, plugin: PodTopologySpread, reason: reasonSpread}
	refusedSpreadLabel   = verdict{code: Unresolvable, plugin: PodTopologySpread, reason: reasonSpreadLabel}
	refusedAffinity      = verdict{code: Unresolvable, plugin: InterPodAffinity, reason: reasonAffinity}
	refusedAnti          = verdict{code: Unschedulable, plugin: InterPodAffinity, reason: reasonAntiAffinity}
	refusedExistingAnti  = verdict{code: Unschedulable, plugin: InterPodAffinity, reason: reasonExistingAnti}
)

// Failure says why no node will do.
type Failure struct {
	// Nodes there are.
	Nodes int
	// Plugins that refused a node.
	Plugins PluginSet
	reasons map[string]int
	// Preemption is what trying to preempt came to; empty when it was not tried or found victims.
	Preemption string
	verdicts   []nodeVerdict
}

type nodeVerdict struct {
	node *Node
	*verdict
}

// Error is the text of the FailedScheduling event.
func (f *Failure) Error() string {
	if f.Nodes == 0 {
		return "no nodes available to schedule pods"
	}
	text := summary(f.Nodes, f.reasons)
	if f.Preemption != "" {
		text += " preemption: " + f.Preemption
	}
	return text
}

func summary(nodes int, reasons map[string]int) string {
	text := fmt.Sprintf("0/%d nodes are available:", nodes)
	if len(reasons) == 0 {
		return text
	}
	parts := make([]string, 0, len(reasons))
	for reason, n := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	sort.Strings(parts)
	return text + " " + strings.Join(parts, ", ") + "."
}

func newFailure(nodes int, verdicts []nodeVerdict) *Failure {
	f := &Failure{Nodes: nodes, reasons: map[string]int{}, verdicts: verdicts}
	for i := range verdicts {
		v := &verdicts[i]
		f.Plugins = f.Plugins.With(v.plugin)
		f.reasons[v.reason]++
		for _, r := range v.more {
			f.reasons[r]++
		}
	}
	return f
}

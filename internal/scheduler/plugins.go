package scheduler

import (
	"errors"
	"fmt"

	v1 "k8s.io/kube-scheduler/config/v1"

	"hyperkube/internal/scheduler/placement"
)

// unsupported are plugins of upstream that this scheduler does not have. They may be disabled, not enabled.
var unsupported = setOf([]string{
	"VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "DynamicResources", "GangScheduling",
	"NodeDeclaredFeatures", "DeferredPodScheduling", "TopologyPlacementGenerator", "PodGroupPodsCount",
})

// point is one extension point: which plugins take part in it, and what to do when one is switched.
type point struct {
	name string
	set  v1.PluginSet
	has  func(placement.Plugin) bool
	on   func(p placement.Plugin, weight int64)
	off  func(placement.Plugin)
}

// applyPlugins switches plugins on and off. What is said of one extension point goes before what is said of all
// (multiPoint), and that before the defaults.
func applyPlugins(p *placement.Profile, in *v1.Plugins) error {
	if in == nil {
		return nil
	}
	binds, sorts := true, true
	points := []point{
		{"filter", in.Filter, isFilter,
			func(x placement.Plugin, _ int64) { p.Filters = p.Filters.With(x) },
			func(x placement.Plugin) { p.Filters = p.Filters.Without(x) }},
		{"score", in.Score, scores,
			func(x placement.Plugin, w int64) { p.Weights[x] = w },
			func(x placement.Plugin) { p.Weights[x] = 0 }},
		{"postFilter", in.PostFilter, is(placement.DefaultPreemption), setTo(&p.Preempts, true), unset(&p.Preempts)},
		{"preEnqueue", in.PreEnqueue, is(placement.SchedulingGates), setTo(&p.Gates, true), unset(&p.Gates)},
		{"queueSort", in.QueueSort, is(placement.PrioritySort), setTo(&sorts, true), unset(&sorts)},
		{"bind", in.Bind, is(placement.DefaultBinder), setTo(&binds, true), unset(&binds)},
	}
	for _, x := range points {
		if err := x.apply("multiPoint", in.MultiPoint, true); err != nil {
			return err
		}
	}
	for _, x := range points {
		if err := x.apply(x.name, x.set, false); err != nil {
			return err
		}
	}
	if err := checkNames(in); err != nil {
		return err
	}
	if !binds {
		return errors.New("bind: at least one bind plugin is needed, and DefaultBinder is the only one")
	}
	if !sorts {
		return errors.New("queueSort: one queue sort plugin is needed, and PrioritySort is the only one")
	}
	return nil
}

func isFilter(p placement.Plugin) bool { return p <= placement.InterPodAffinity }

func scores(p placement.Plugin) bool { return placement.DefaultWeights()[p] > 0 }

func is(want placement.Plugin) func(placement.Plugin) bool {
	return func(p placement.Plugin) bool { return p == want }
}

func setTo(b *bool, v bool) func(placement.Plugin, int64) {
	return func(placement.Plugin, int64) { *b = v }
}

func unset(b *bool) func(placement.Plugin) { return func(placement.Plugin) { *b = false } }

// apply switches what a set says. A set for all points skips plugins that have no part in this one.
func (x point) apply(name string, set v1.PluginSet, all bool) error {
	for _, d := range set.Disabled {
		if d.Name == "*" {
			for _, p := range placement.Plugins() {
				if x.has(p) {
					x.off(p)
				}
			}
			continue
		}
		if p, ok := placement.PluginNamed(d.Name); ok && x.has(p) {
			x.off(p)
		}
	}
	for _, e := range set.Enabled {
		p, ok := placement.PluginNamed(e.Name)
		if !ok || !x.has(p) {
			if ok && !all {
				return fmt.Errorf("%s.enabled: plugin %q has no part in it", name, e.Name)
			}
			continue
		}
		weight := int64(1)
		if e.Weight != nil {
			weight = int64(*e.Weight)
		}
		if weight < 1 {
			return fmt.Errorf("%s.enabled: weight %d of plugin %q is not greater than 0", name, weight, e.Name)
		}
		x.on(p, weight)
	}
	return nil
}

// checkNames refuses plugins that there are not, also at extension points that change nothing here: the parts of one plugin that
// prepare a decision, reserve and so on are switched with its filter and score.
func checkNames(in *v1.Plugins) error {
	for name, set := range map[string]v1.PluginSet{
		"preEnqueue": in.PreEnqueue, "queueSort": in.QueueSort, "preFilter": in.PreFilter, "filter": in.Filter,
		"postFilter": in.PostFilter, "preScore": in.PreScore, "score": in.Score, "reserve": in.Reserve, "permit": in.Permit,
		"preBind": in.PreBind, "bind": in.Bind, "postBind": in.PostBind, "multiPoint": in.MultiPoint,
		"placementGenerate": in.PlacementGenerate, "placementScore": in.PlacementScore, "podGroupPostFilter": in.PodGroupPostFilter,
	} {
		seen := map[string]bool{}
		for _, e := range set.Enabled {
			if _, ok := placement.PluginNamed(e.Name); !ok {
				if unsupported[e.Name] {
					return fmt.Errorf("%s.enabled: plugin %q is not supported", name, e.Name)
				}
				return fmt.Errorf("%s.enabled: there is no plugin %q", name, e.Name)
			}
			if seen[e.Name] {
				return fmt.Errorf("%s.enabled: plugin %q is there twice", name, e.Name)
			}
			seen[e.Name] = true
		}
	}
	return nil
}

package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	v1 "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/client"
	"hyperkube/internal/scheduler/placement"
)

// Config of a scheduler. The zero value is upstream's default-scheduler without leader election.
type Config struct {
	// KubeSchedulerConfiguration is upstream's configuration file. Its clientConnection, leaderElection
	// and debugging parts are the caller's business.
	KubeSchedulerConfiguration v1.KubeSchedulerConfiguration
	// Leading, when set, makes the scheduler wait for this lease before it schedules. Caches are filled before.
	Leading *client.Leading
	// Metrics, when set, gets upstream's scheduler_* metrics.
	Metrics prometheus.Registerer
	// BindingsInFlight bounds the bindings on their way at once: 64. Half as many events go beside them.
	BindingsInFlight int
}

// profiles checks the configuration and gives what it says of each scheduler name.
func (c *Config) profiles() (map[string]*placement.Profile, error) {
	k := &c.KubeSchedulerConfiguration
	if len(k.Extenders) > 0 {
		return nil, errors.New("extenders: scheduler extenders are not supported")
	}
	if p := k.PercentageOfNodesToScore; p != nil && (*p < 0 || *p > 100) {
		return nil, fmt.Errorf("percentageOfNodesToScore: %d is not between 0 and 100", *p)
	}
	if k.Parallelism != nil && *k.Parallelism <= 0 {
		return nil, fmt.Errorf("parallelism: %d is not greater than 0", *k.Parallelism)
	}
	if _, _, err := c.backoffs(); err != nil {
		return nil, err
	}
	list := k.Profiles
	if len(list) == 0 {
		list = []v1.KubeSchedulerProfile{{}}
	}
	out := map[string]*placement.Profile{}
	for i := range list {
		p, err := newProfile(&list[i], k.PercentageOfNodesToScore)
		if err != nil {
			return nil, fmt.Errorf("profiles[%d]: %w", i, err)
		}
		if out[p.Name] != nil {
			return nil, fmt.Errorf("profiles[%d].schedulerName: %q is there twice", i, p.Name)
		}
		out[p.Name] = p
	}
	return out, nil
}

func (c *Config) backoffs() (initial, longest time.Duration, err error) {
	k := &c.KubeSchedulerConfiguration
	first, last := ptr.Deref(k.PodInitialBackoffSeconds, 1), ptr.Deref(k.PodMaxBackoffSeconds, 10)
	if first <= 0 {
		return 0, 0, fmt.Errorf("podInitialBackoffSeconds: %d is not greater than 0", first)
	}
	if last < first {
		return 0, 0, fmt.Errorf("podMaxBackoffSeconds: %d is less than podInitialBackoffSeconds (%d)", last, first)
	}
	return time.Duration(first) * time.Second, time.Duration(last) * time.Second, nil
}

func newProfile(in *v1.KubeSchedulerProfile, percent *int32) (*placement.Profile, error) {
	p := placement.DefaultProfile()
	if in.SchedulerName != nil {
		p.Name = *in.SchedulerName
	}
	if p.Name == "" {
		return nil, errors.New("schedulerName: is empty")
	}
	if in.PercentageOfNodesToScore != nil {
		percent = in.PercentageOfNodesToScore
	}
	if p.SamplePercent = ptr.Deref(percent, 0); p.SamplePercent < 0 || p.SamplePercent > 100 {
		return nil, fmt.Errorf("percentageOfNodesToScore: %d is not between 0 and 100", p.SamplePercent)
	}
	if err := applyPlugins(p, in.Plugins); err != nil {
		return nil, fmt.Errorf("plugins.%w", err)
	}
	seen := map[string]bool{}
	for i := range in.PluginConfig {
		pc := &in.PluginConfig[i]
		if seen[pc.Name] {
			return nil, fmt.Errorf("pluginConfig[%d]: arguments of %s are there twice", i, pc.Name)
		}
		seen[pc.Name] = true
		if err := applyArgs(p, pc); err != nil {
			return nil, fmt.Errorf("pluginConfig[%d]: arguments of %s: %w", i, pc.Name, err)
		}
	}
	return p, nil
}

// applyArgs reads the arguments of one plugin, strictly.
func applyArgs(p *placement.Profile, pc *v1.PluginConfig) error {
	switch pc.Name {
	case "NodeResourcesFit":
		return withArgs(pc, func(a *v1.NodeResourcesFitArgs) error { return fitArgs(p, a) })
	case "NodeResourcesBalancedAllocation":
		return withArgs(pc, func(a *v1.NodeResourcesBalancedAllocationArgs) error {
			if len(a.Resources) > 8 {
				return errors.New("resources: more than 8")
			}
			if len(a.Resources) > 0 {
				p.Balanced = weightedResources(a.Resources)
			}
			return nil
		})
	case "InterPodAffinity":
		return withArgs(pc, func(a *v1.InterPodAffinityArgs) error {
			p.HardAffinityWeight = int64(ptr.Deref(a.HardPodAffinityWeight, 1))
			p.IgnorePreferredOfExisting = a.IgnorePreferredTermsOfExistingPods
			if p.HardAffinityWeight < 0 || p.HardAffinityWeight > 100 {
				return fmt.Errorf("hardPodAffinityWeight: %d is not between 0 and 100", p.HardAffinityWeight)
			}
			return nil
		})
	case "NodeAffinity":
		return withArgs(pc, func(a *v1.NodeAffinityArgs) error {
			p.AddedAffinity = a.AddedAffinity
			return nil
		})
	case "PodTopologySpread":
		return withArgs(pc, func(a *v1.PodTopologySpreadArgs) error { return spreadArgs(p, a) })
	case "DefaultPreemption":
		return withArgs(pc, func(a *v1.DefaultPreemptionArgs) error {
			p.MinCandidatePercent = ptr.Deref(a.MinCandidateNodesPercentage, 10)
			p.MinCandidates = ptr.Deref(a.MinCandidateNodesAbsolute, 100)
			if p.MinCandidatePercent < 0 || p.MinCandidatePercent > 100 || p.MinCandidates < 0 || p.MinCandidatePercent == 0 && p.MinCandidates == 0 {
				return errors.New("minCandidateNodesPercentage and minCandidateNodesAbsolute: out of range")
			}
			return nil
		})
	case "VolumeBinding":
		return withArgs(pc, func(*v1.VolumeBindingArgs) error { return nil })
	case "DynamicResources":
		return withArgs(pc, func(*v1.DynamicResourcesArgs) error { return nil })
	}
	if _, known := placement.PluginNamed(pc.Name); known || unsupported[pc.Name] {
		return errors.New("it takes none")
	}
	return errors.New("there is no such plugin")
}

func withArgs[T any](pc *v1.PluginConfig, use func(*T) error) error {
	var args T
	if len(pc.Args.Raw) > 0 {
		if err := yaml.UnmarshalStrict(pc.Args.Raw, &args); err != nil {
			return err
		}
	}
	return use(&args)
}

func fitArgs(p *placement.Profile, a *v1.NodeResourcesFitArgs) error {
	p.IgnoredResources, p.IgnoredGroups = setOf(a.IgnoredResources), setOf(a.IgnoredResourceGroups)
	s := a.ScoringStrategy
	if s == nil {
		return nil
	}
	if len(s.Resources) > 0 {
		p.Fit.Resources = weightedResources(s.Resources)
	}
	for _, r := range p.Fit.Resources {
		if r.Weight < 1 || r.Weight > 100 {
			return fmt.Errorf("scoringStrategy.resources: weight %d of %s is not between 1 and 100", r.Weight, r.Name)
		}
	}
	switch s.Type {
	case "", v1.LeastAllocated:
	case v1.MostAllocated:
		p.Fit.Strategy = placement.MostAllocated
	case v1.RequestedToCapacityRatio:
		p.Fit.Strategy = placement.RequestedToCapacityRatio
		return shapeArgs(p, s.RequestedToCapacityRatio)
	default:
		return fmt.Errorf("scoringStrategy.type: %q is not LeastAllocated, MostAllocated or RequestedToCapacityRatio", s.Type)
	}
	return nil
}

func shapeArgs(p *placement.Profile, r *v1.RequestedToCapacityRatioParam) error {
	if r == nil || len(r.Shape) == 0 {
		return errors.New("scoringStrategy.requestedToCapacityRatio.shape: is empty")
	}
	last := int32(-1)
	for _, s := range r.Shape {
		if s.Utilization <= last || s.Utilization > 100 || s.Score < 0 || s.Score > 10 {
			return fmt.Errorf("scoringStrategy.requestedToCapacityRatio.shape: utilization %d with score %d is out of order or range", s.Utilization, s.Score)
		}
		last = s.Utilization
		p.Fit.Shape = append(p.Fit.Shape, placement.ShapePoint{Utilization: int64(s.Utilization), Score: int64(s.Score)})
	}
	return nil
}

func spreadArgs(p *placement.Profile, a *v1.PodTopologySpreadArgs) error {
	switch a.DefaultingType {
	case "", v1.SystemDefaulting:
		if len(a.DefaultConstraints) > 0 {
			return errors.New("defaultConstraints: may be given only with defaultingType List")
		}
		return nil
	case v1.ListDefaulting:
	default:
		return fmt.Errorf("defaultingType: %q is not System or List", a.DefaultingType)
	}
	p.SystemSpread = false
	p.DefaultSpread = a.DefaultConstraints
	for i, k := range a.DefaultConstraints {
		switch {
		case k.MaxSkew < 1:
			return fmt.Errorf("defaultConstraints[%d].maxSkew: %d is not greater than 0", i, k.MaxSkew)
		case k.TopologyKey == "":
			return fmt.Errorf("defaultConstraints[%d].topologyKey: is empty", i)
		case k.LabelSelector != nil:
			return fmt.Errorf("defaultConstraints[%d].labelSelector: must be empty, as it comes from the pod's services and owner", i)
		case k.WhenUnsatisfiable != corev1.DoNotSchedule && k.WhenUnsatisfiable != corev1.ScheduleAnyway:
			return fmt.Errorf("defaultConstraints[%d].whenUnsatisfiable: %q is not DoNotSchedule or ScheduleAnyway", i, k.WhenUnsatisfiable)
		}
	}
	return nil
}

func weightedResources(in []v1.ResourceSpec) (out []placement.WeightedResource) {
	for _, r := range in {
		if r.Weight == 0 {
			r.Weight = 1
		}
		out = append(out, placement.WeightedResource{Name: corev1.ResourceName(r.Name), Weight: r.Weight})
	}
	return out
}

func setOf(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
}

package placement

import corev1 "k8s.io/api/core/v1"

// Profile is how pods of one scheduler name are placed.
type Profile struct {
	// Name is the scheduler name of the pods.
	Name string
	// Filters are the plugins that may refuse nodes, NodeUnschedulable to InterPodAffinity.
	Filters PluginSet
	// Weights of the plugins that score; 0 does not.
	Weights [pluginCount]int64
	// Preempts: DefaultPreemption takes part. Gates: SchedulingGates does.
	Preempts, Gates bool
	// SamplePercent of nodes to find feasible before scoring; 0 adapts to the size of the cluster.
	SamplePercent int32

	// Arguments of NodeResourcesFit.
	IgnoredResources, IgnoredGroups map[string]bool
	Fit                             FitScoring
	// Balanced are the resources that NodeResourcesBalancedAllocation looks at.
	Balanced []WeightedResource
	// AddedAffinity is asked of nodes besides the pod's own.
	AddedAffinity *corev1.NodeAffinity
	// HardAffinityWeight is what required affinity of running pods counts in scores.
	HardAffinityWeight int64
	// IgnorePreferredOfExisting leaves out the preferences of running pods unless the pod has affinity itself.
	IgnorePreferredOfExisting bool
	// DefaultSpread constrains pods without constraints; SystemSpread says that these are upstream's, which
	// do not demand that nodes have all labels.
	DefaultSpread []corev1.TopologySpreadConstraint
	SystemSpread  bool
	// MinCandidatePercent and MinCandidates bound how many nodes preemption tries.
	MinCandidatePercent, MinCandidates int32
}

// FitScoring is the scoring strategy of NodeResourcesFit.
type FitScoring struct {
	Strategy  Strategy
	Resources []WeightedResource
	Shape     []ShapePoint // of RequestedToCapacityRatio
}

// Strategy of NodeResourcesFit.
type Strategy uint8

// The strategies.
const (
	LeastAllocated Strategy = iota
	MostAllocated
	RequestedToCapacityRatio
)

// WeightedResource is a resource and its weight in a score.
type WeightedResource struct {
	Name   corev1.ResourceName
	Weight int64
}

// ShapePoint is a score, 0 to 10, at a utilization in percent.
type ShapePoint struct{ Utilization, Score int64 }

// DefaultProfile is upstream's default-scheduler.
func DefaultProfile() *Profile {
	both := []WeightedResource{{corev1.ResourceCPU, 1}, {corev1.ResourceMemory, 1}}
	p := &Profile{
		Name:                corev1.DefaultSchedulerName,
		Preempts:            true,
		Gates:               true,
		Fit:                 FitScoring{Resources: both},
		Balanced:            both,
		HardAffinityWeight:  1,
		DefaultSpread:       SystemSpread(),
		SystemSpread:        true,
		MinCandidatePercent: 10,
		MinCandidates:       100,
	}
	for _, f := range []Plugin{NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit, PodTopologySpread, InterPodAffinity} {
		p.Filters = p.Filters.With(f)
	}
	for s, w := range DefaultWeights() {
		p.Weights[s] = w
	}
	return p
}

// DefaultWeights are upstream's weights of the plugins that score.
func DefaultWeights() map[Plugin]int64 {
	return map[Plugin]int64{
		TaintToleration: 3, NodeAffinity: 2, PodTopologySpread: 2, InterPodAffinity: 2,
		NodeResourcesFit: 1, NodeResourcesBalancedAllocation: 1, ImageLocality: 1,
	}
}

// SystemSpread are upstream's default constraints: a little skew between hosts, a little more between zones.
func SystemSpread() []corev1.TopologySpreadConstraint {
	return []corev1.TopologySpreadConstraint{
		{TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 3},
		{TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 5},
	}
}

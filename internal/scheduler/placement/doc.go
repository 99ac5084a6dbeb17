// Package placement decides which node a pod goes to. It knows no clock, no API and no goroutines: a [State] is told of
// nodes and pods one by one, and [State.Place] answers for one pod.
//
// # What it costs
//
// Everything that a decision needs is kept up to date as nodes and pods come and go, never gathered anew:
//
//   - Node-local facts (free resources, ports) are sums in the [Node].
//   - Facts of topology are tallies: for one selector and one topology key, how many pods match in each domain
//     (zone, host, …), with the least count at hand. A tally is made by one pass over the pods when a pod first asks for it, and
//     from then on follows every change in constant time. Terms that running pods carry (their anti-affinity keeps
//     others away) are tallied in the same way, once for all pods with equal terms.
//   - What depends on the node object and the pod's template alone (taints, node affinity, selectors, images) is
//     remembered for each template and node until the node object changes.
//
// So a decision costs a few array look-ups for each node that it considers, and on big clusters it considers a sample, as
// upstream does.
//
// # Plugins
//
// A [Profile] says which of upstream's plugins take part, with which weights and arguments. Filters run in upstream's order; the
// first that refuses a node gives the reason. A refusal is either for now ([Unschedulable]: other pods
// leaving may help) or for as long as node and pod stay as they are ([Unresolvable]).
//
// # Assumed and nominated pods
//
// The caller adds a placed pod to the state itself, before the API knows of it, and removes it when the
// binding fails. A pod that preempted others is nominated to its node: pods of lower priority see the node as
// if it were there already.
//
// A State is not safe for concurrent use.
package placement

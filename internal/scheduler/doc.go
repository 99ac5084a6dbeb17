// Package scheduler gives pods their nodes. [placement] decides, purely and in memory; this package keeps its state up to date
// from the API, chooses which pod is next, and carries decisions out.
//
// # The way of a pod
//
// A pod without a node, whose scheduler name is that of a profile, enters the queue. It is active (highest priority first, then
// the one that waited longest), or backs off after a failed attempt (1 s, doubling to 10 s), or waits: for something to
// change that may help it. Changes of nodes and pods are held against what refused the pod last time, and only pods that they may
// help become active again; a pod that waited for five minutes does so anyway. When nothing is
// active, pods that back off are tried early.
//
// A decision runs under one lock, in microseconds, against everything known at that moment. The pod is then assumed to be on
// its node, and the binding goes out while the next decision is made: many are in flight at once. A binding that fails takes the
// assumption back. A pod that fits nowhere may preempt others: the victims are told why (condition DisruptionTarget) and
// deleted, and the node is kept for the pod (nominatedNodeName).
//
// # What is left out
//
// Plugins for volumes, dynamic resources, gangs, and extenders: a configuration that enables one is refused.
package scheduler

// Package podset is what the controllers that own pods share: how a pod's readiness and life are judged, which pods
// belong to which owner, in what order to remove surplus ones, how to create and delete many at once without flooding
// the API, and how to wait for the echo of one's own writes.
//
// The judging functions are pure: they take the time as an argument. The writing ones block for their
// requests and report each through events with upstream's reasons.
package podset

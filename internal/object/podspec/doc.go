// Package podspec knows what a pod specification means: its documented defaults, and
// what makes one valid. Pods and every kind with a pod template share it.
//
// [Default] and [DefaultTemplate] fill in defaults in place, and do nothing the second time; [Validate] and
// [ValidateTemplate] judge a specification that has been defaulted. What an update of a pod may change is the
// business of the pod's row. All functions are pure. Error types,
// field paths and texts are those of the Kubernetes API.
package podspec

// Package podspec knows what a pod specification means: its documented defaults, and
// what makes one valid. Pods and every kind with a pod template share it.
//
// [Default] and [DefaultTemplate] fill in defaults in place; [Validate], [ValidateTemplate] and
// [ValidateUpdate] judge a specification that has been defaulted. All functions are pure. Error types,
// field paths and texts are those of the Kubernetes API.
package podspec

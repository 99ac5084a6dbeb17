//go:build upstream

// Package upstream pins what this module builds of k8s.io/kubernetes, unmodified: the packages of its e2e test binary are
// imported here so that go.mod and go.sum cover them. No program links it, and the build tag keeps `go vet ./...` from
// compiling it.
package upstream

import (
	_ "k8s.io/kubernetes/test/e2e"
)

// Package controllers is the frame that every controller of the cluster stands in: what one is
// ([Controller]), what it is given ([Deps]), and who starts, watches and stops them all ([Manager]).
//
// A controller is a package of its own below this one. It reads shared, indexed caches
// ([client.Informers]), which nobody may change, and writes through a client under its own identity. Changes of
// objects become keys in a queue; a worker takes a key, compares what is wanted with what is, and
// writes the difference. It works on the state as it is now and never on the event that told
// of it, so an event lost, doubled or late does no harm. Nothing is written when nothing differs, and nothing
// is polled: what depends on time is put into the queue for the moment when it is due.
//
// New registers a controller's handlers and indexes with the informers; this must come before the informers
// start. Run comes after the first sync, blocks until its context ends, and may be called
// again after it returned an error or panicked: the queue and its keys outlive the run.
//
// Controllers never import one another. What several need lives in packages that are not
// controllers: podset (pods that someone owns), history (controller revisions), ownwrites (versions that the caches
// do not have yet), serving (packing of endpoints).
package controllers

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
)

// Controller drives one kind of object towards what its specification says.
type Controller interface {
	// Name is upstream's name of the controller, as --controllers and /healthz/<name> use it.
	Name() string
	// Run works until ctx ends and returns nil then. An error or a panic makes the manager start it
	// again after a pause.
	Run(ctx context.Context) error
}

// Deps is what every controller is given.
type Deps struct {
	// Client acts as the identity of the named controller: "deployment-controller" is
	// system:serviceaccount:kube-system:deployment-controller. Every call with one name gives the same client.
	Client func(name string) client.Interface
	// Informers are the shared caches, filled under the manager's identity.
	Informers *client.Informers
	// Recorder writes events that come from the named component.
	Recorder func(component string) record.EventRecorder
	// Metrics is what /metrics shows; nil where nobody asks.
	Metrics prometheus.Registerer
}

// Logger is what a controller logs to.
func Logger(name string) *slog.Logger {
	return slog.Default().With("component", "controller-manager", "controller", name)
}

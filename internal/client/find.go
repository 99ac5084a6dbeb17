package client

import (
	"errors"

	"k8s.io/client-go/rest"
)

// ErrNoServer says that nothing tells where the API server is.
var ErrNoServer = errors.New("no API server is named")

// Find tells how a role reaches the API server: as a kubeconfig says, whose server master replaces when it is given; at
// master alone; or else, in a pod, as the pod's service account. Otherwise the error is [ErrNoServer], to which the role adds
// the names of its flags.
func Find(kubeconfig, master string) (*rest.Config, error) {
	if kubeconfig != "" {
		r, err := FromKubeconfig(kubeconfig)
		if err == nil && master != "" {
			r.Host = master
		}
		return r, err
	}
	if master != "" {
		return &rest.Config{Host: master}, nil
	}
	r, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, ErrNoServer
	}
	return r, err
}

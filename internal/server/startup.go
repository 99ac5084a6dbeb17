package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// ownParts run with the server to its very end.
func (s *Server) ownParts() []func(context.Context) error {
	return []func(context.Context) error{s.bringUp, s.keepServiceRange, s.crds.Run}
}

// notStopping is part of readiness alone: a server that is about to end is healthy.
func (s *Server) notStopping() Check {
	return Check{Name: "shutdown", Func: func(context.Context) error {
		if s.stopping.Load() {
			return errors.New("process is shutting down")
		}
		return nil
	}}
}

// ownChecks are the server's health.
func (s *Server) ownChecks() []Check {
	return []Check{
		{Name: "poststarthook/bootstrap", Func: func(context.Context) error {
			select {
			case <-s.started:
				return nil
			default:
				return errors.New("the namespaces of the system are not there yet")
			}
		}},
		{Name: "poststarthook/crd-informer-synced", Func: s.crds.Synced},
	}
}

// bringUp makes the namespaces that every cluster has, waits until the other parts are ready, and says that the server is.
func (s *Server) bringUp(ctx context.Context) error {
	c := s.Direct(loopback())
	if err := retry(ctx, func() error { return s.systemNamespaces(ctx, c) }); err != nil {
		return err
	}
	if err := retry(ctx, func() error { return s.serviceRange(ctx, c, nil) }); err != nil {
		return err
	}
	close(s.started)
	err := retry(ctx, func() error {
		for _, check := range s.parts.Checks {
			if err := check.Func(ctx); err != nil {
				return err
			}
		}
		return s.crds.Synced(ctx)
	})
	if err != nil {
		return err
	}
	close(s.ready)
	s.log.Info("API server is ready", "address", s.Addr().String())
	return nil
}

func (s *Server) systemNamespaces(ctx context.Context, c client.Interface) error {
	for _, name := range []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault} {
		if _, err := client.Namespaces.Get(ctx, c, "", name); err == nil {
			continue
		}
		_, err := client.Namespaces.Create(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// retry calls f until it succeeds or ctx ends, waiting longer each time up to a second.
func retry(ctx context.Context, f func() error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if f() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func marshalIndent(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

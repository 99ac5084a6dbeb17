package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
	"hyperkube/internal/runtime/pause"
)

const (
	pauseImage = "registry.k8s.io/pause:3.10"
	// look is how often a server that cannot tell when it is ready is asked.
	look = 5 * time.Millisecond
)

// again calls f until it succeeds.
func again(ctx context.Context, what string, f func(context.Context) error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// awaitReady returns when an API server's /readyz says ok.
func awaitReady(ctx context.Context, cfg *rest.Config) error {
	api, err := load.NewAPI(cfg, load.JSON)
	if err != nil {
		return err
	}
	return again(ctx, "waiting for the API server", func(ctx context.Context) error { return api.Raw(ctx, "/readyz") })
}

// awaitNode returns when the node is Ready.
func awaitNode(ctx context.Context, cfg *rest.Config) error {
	api, err := load.NewAPI(cfg, load.JSON)
	if err != nil {
		return err
	}
	o := metav1.ListOptions{FieldSelector: "metadata.name=" + NodeName}
	return load.Await(ctx, api, load.Nodes, "", o, func(n *corev1.Node) bool {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
}

// startContainerd starts the runtime and returns when its socket answers.
func (u *upstream) startContainerd() error {
	return u.spawn("containerd", "--config", u.path("containerd.toml"), "--log-level", "warn")
}

// pauseImage puts the pause image into the runtime's store; a runtime that has it is left alone.
func (u *upstream) pauseImage(ctx context.Context) error {
	mark := u.path("containerd/pause-is-there")
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	data, err := pause.Archive(pauseImage, runtime.GOARCH)
	if err != nil {
		return err
	}
	archive := filepath.Join(u.box.Dir, "pause.tar")
	if err := os.WriteFile(archive, data, 0o600); err != nil {
		return err
	}
	if err := u.startContainerd(); err != nil {
		return err
	}
	err = again(ctx, "waiting for containerd", func(context.Context) error {
		c, err := net.Dial("unix", u.socket())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := u.Import(ctx, archive); err != nil {
		return err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	return u.Stop(ctx)
}

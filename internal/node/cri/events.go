package cri

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubetypes "k8s.io/kubelet/pkg/types"
)

// Watch calls changed for every pod that the runtime tells an event of, and reconnected each time the stream
// is up (also the first time): what happened before that was not seen, so everything has to be read again.
// It returns when ctx ends. Neither function may block for long.
//
// A runtime without event streams (CRI v1 before KEP-3386) is relisted every relistWithoutEvents.
func (c *Client) Watch(ctx context.Context, changed func(types.UID), reconnected func()) {
	log := slog.Default().With("component", "kubelet")
	delay := 50 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := c.stream(ctx, changed, reconnected)
		if ctx.Err() != nil {
			return
		}
		if status.Code(err) == codes.Unimplemented {
			log.Warn("the container runtime has no event stream, relisting instead", "every", relistWithoutEvents)
			c.relist(ctx, reconnected)
			return
		}
		if time.Since(began) > time.Minute {
			delay = 50 * time.Millisecond
		}
		log.Warn("the container runtime's event stream broke", "error", err, "retryIn", delay)
		wait(ctx, delay)
		delay = min(2*delay, 5*time.Second)
	}
}

// relistWithoutEvents is how often a runtime that cannot tell of events is read.
const relistWithoutEvents = time.Second

func (c *Client) relist(ctx context.Context, f func()) {
	for ctx.Err() == nil {
		f()
		wait(ctx, relistWithoutEvents)
	}
}

func (c *Client) stream(ctx context.Context, changed func(types.UID), reconnected func()) error {
	s, err := c.Runtime.GetContainerEvents(ctx, &rt.GetEventsRequest{})
	if err != nil {
		return err
	}
	// The stream is made lazily: an answer to a unary call after it proves that the runtime is up.
	if _, err := c.Runtime.Version(ctx, &rt.VersionRequest{}); err != nil {
		return err
	}
	reconnected()
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("closed by the runtime")
		}
		if err != nil {
			return err
		}
		if uid := eventPod(e); uid != "" {
			changed(uid)
		}
	}
}

func eventPod(e *rt.ContainerEventResponse) types.UID {
	if m := e.GetPodSandboxStatus().GetMetadata(); m != nil {
		return types.UID(m.Uid)
	}
	for _, st := range e.GetContainersStatuses() {
		if uid := st.Labels[kubetypes.KubernetesPodUIDLabel]; uid != "" {
			return types.UID(uid)
		}
	}
	return ""
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

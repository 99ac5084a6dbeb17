// Package cri is the container runtime as the kubelet sees it: the two CRI v1 clients, the labels
// by which sandboxes and containers are found again after a restart, the state of a pod
// read from the runtime, and the stream of its container events.
//
// [Client.Pod] reads one pod's sandboxes and containers; statuses of exited containers never
// change and are remembered until [Client.Forget]. [Client.Pods] reads all of them, for start-up and after a gap in the
// event stream. [Client.Watch] follows the stream: every event names a pod whose state should be read
// again; what the event itself carries is not used, since events of one pod may overtake each other.
// All calls are safe for concurrent use.
package cri

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is the largest CRI message accepted, in bytes: a list of every container of a full node.
const maxMessage = 16 << 20

// Client talks to a container runtime.
type Client struct {
	Runtime rt.RuntimeServiceClient
	Images  rt.ImageServiceClient

	conns []*grpc.ClientConn

	measures *measures

	mu     sync.Mutex
	exited map[string]*rt.ContainerStatus // by container ID
}

// New makes a client over given connections, for a runtime in the same process.
func New(r rt.RuntimeServiceClient, i rt.ImageServiceClient) *Client {
	return &Client{Runtime: r, Images: i, measures: newMeasures(), exited: map[string]*rt.ContainerStatus{}}
}

// Dial makes a client for the sockets of a runtime ("unix:///run/containerd/containerd.sock"). An empty image
// endpoint means the runtime's. It does not wait for the runtime to be there.
func Dial(runtimeEndpoint, imageEndpoint string) (*Client, error) {
	m := newMeasures()
	rc, err := m.dial(runtimeEndpoint)
	if err != nil {
		return nil, err
	}
	c := New(rt.NewRuntimeServiceClient(rc), rt.NewImageServiceClient(rc))
	c.measures = m
	c.conns = append(c.conns, rc)
	if imageEndpoint != "" && imageEndpoint != runtimeEndpoint {
		ic, err := m.dial(imageEndpoint)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.Images = rt.NewImageServiceClient(ic)
		c.conns = append(c.conns, ic)
	}
	return c, nil
}

// Close ends the connections that Dial made.
func (c *Client) Close() {
	for _, conn := range c.conns {
		_ = conn.Close() // nothing is buffered on a gRPC client connection
	}
}

func (m *measures) dial(endpoint string) (*grpc.ClientConn, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok && !strings.HasPrefix(endpoint, "/") {
		return nil, fmt.Errorf("container runtime endpoint %q: only unix:// sockets are supported", endpoint)
	}
	if !ok {
		path = endpoint
	}
	retry := backoff.DefaultConfig
	retry.BaseDelay, retry.MaxDelay = 50*time.Millisecond, 3*time.Second
	conn, err := grpc.NewClient("passthrough:///"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second}),
		grpc.WithChainUnaryInterceptor(m.count, bounded),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", addr)
		}))
	if err != nil {
		return nil, fmt.Errorf("container runtime endpoint %q: %w", endpoint, err)
	}
	return conn, nil
}

// callTimeout bounds calls that need no longer than the runtime takes to think; making a sandbox includes its network.
const (
	callTimeout    = 2 * time.Minute
	sandboxTimeout = 4 * time.Minute
)

// bounded gives calls without a deadline one, so that a runtime that hangs does not hold a pod for ever. Pulls, commands and stopping
// containers take as long as they take.
func bounded(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	limit := callTimeout
	switch method[strings.LastIndexByte(method, '/')+1:] {
	case "PullImage", "ExecSync", "StopContainer":
		return call(ctx, method, req, reply, cc, opts...)
	case "RunPodSandbox", "StopPodSandbox":
		limit = sandboxTimeout
	}
	if _, has := ctx.Deadline(); has {
		return call(ctx, method, req, reply, cc, opts...)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx, method, req, reply, cc, opts...)
}

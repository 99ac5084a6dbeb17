package etcd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// Remote names an etcd cluster elsewhere.
type Remote struct {
	// Endpoints are http:// or https:// URLs, or host:port for http.
	Endpoints []string
	// CertFile and KeyFile identify the client, CAFile verifies the servers (the system's authorities when empty).
	// They are used for https endpoints and read again for each new connection.
	CertFile, KeyFile, CAFile string
}

// maxMessage bounds one answer: a page of large objects exceeds gRPC's default of 4 MiB.
const maxMessage = 1 << 30

// Dial gives a client of a remote cluster. It does not wait for a connection: the first request does, and
// requests fail over between endpoints. Close the client after use.
func Dial(r Remote) (*clientv3.Client, error) {
	if len(r.Endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints")
	}
	c := clientv3.Config{
		Endpoints:            r.Endpoints,
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		MaxCallSendMsgSize:   maxMessage,
		MaxCallRecvMsgSize:   maxMessage,
		DialOptions:          []grpc.DialOption{grpc.WithUserAgent("hyperkube")},
		Logger:               newFailure(logOf(nil)).logger(),
	}
	secure := 0
	for _, e := range r.Endpoints {
		if strings.HasPrefix(e, "https://") {
			secure++
		}
	}
	switch {
	case secure == len(r.Endpoints):
		info := transport.TLSInfo{CertFile: r.CertFile, KeyFile: r.KeyFile, TrustedCAFile: r.CAFile}
		t, err := info.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("etcd client certificates: %w", err)
		}
		c.TLS = t
	case secure > 0:
		return nil, errors.New("etcd: endpoints mix http and https")
	}
	cl, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return cl, nil
}

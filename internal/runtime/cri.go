package runtime

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage bounds one answer of the CRI: the list of a full node's containers exceeds gRPC's 4 MiB.
const maxMessage = 16 << 20

// DialCRI connects to a runtime's CRI ("unix:///path" or a path), ours or another one, and asks for its version, so that
// an endpoint that does not answer is an error here. Close the closer after use.
func DialCRI(ctx context.Context, endpoint string) (cri.RuntimeServiceClient, cri.ImageServiceClient, io.Closer, error) {
	target := endpoint
	if strings.HasPrefix(target, "/") {
		target = "unix://" + target
	}
	if !strings.HasPrefix(target, "unix://") {
		return nil, nil, nil, fmt.Errorf("container runtime endpoint %q is not a unix socket (unix:///path)", endpoint)
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("container runtime endpoint %s: %w", endpoint, err)
	}
	rs := cri.NewRuntimeServiceClient(conn)
	if _, err := rs.Version(ctx, &cri.VersionRequest{Version: "v1"}); err != nil {
		conn.Close()
		return nil, nil, nil, fmt.Errorf("container runtime at %s does not speak CRI v1: %w", endpoint, err)
	}
	return rs, cri.NewImageServiceClient(conn), conn, nil
}

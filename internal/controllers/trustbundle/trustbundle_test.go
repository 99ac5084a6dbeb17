package trustbundle

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
)

func TestObjectName(t *testing.T) {
	require.Equal(t, "kubernetes.io:kube-apiserver-serving:ba7816bf8f01cfea414140de", objectName([]byte("abc")))
	require.NotEqual(t, objectName([]byte("abc")), objectName([]byte("abd")))
}

func TestCode(t *testing.T) {
	require.Equal(t, "200", code(nil))
	require.Equal(t, "404", code(apierrors.NewNotFound(client.ClusterTrustBundles.GVR.GroupResource(), "x")))
	require.Equal(t, "400", code(fmt.Errorf("wrapped: %w", errors.Join(apierrors.NewBadRequest("no")))))
	require.Equal(t, "500", code(&apierrors.StatusError{}))
	require.Equal(t, "500", code(errors.New("other")))
}

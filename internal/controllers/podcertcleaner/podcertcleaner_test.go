package podcertcleaner

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	certv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
	"hyperkube/internal/server/servertest"
)

// TestCleaner runs two cleaners one after the other on the same requests: to one they are young, to the other they are old.
func TestCleaner(t *testing.T) {
	ctx := t.Context()
	admin := servertest.Start(t, nil).Admin()
	create(t, admin, "pending")
	denied := create(t, admin, "denied")
	denied.Status.Conditions = []metav1.Condition{{
		Type: certv1.PodCertificateRequestConditionTypeDenied, Status: metav1.ConditionTrue, Reason: "Test", LastTransitionTime: metav1.Now(),
	}}
	_, err := client.PodCertificateRequests.UpdateStatus(ctx, admin, denied)
	require.NoError(t, err)

	informers := client.NewInformers(admin)
	deps := controllers.Deps{Client: func(string) client.Interface { return admin }, Informers: informers}
	young, old := newController(deps, time.Hour), newController(deps, time.Nanosecond)
	require.Equal(t, 15*time.Minute, New(deps).(*controller).keep)
	informers.Start(ctx)
	require.NoError(t, informers.WaitForSync(ctx))
	for _, name := range []string{"pending", "denied", "was-never-there"} {
		key := object.Key{Namespace: metav1.NamespaceDefault, Name: name}
		require.NoError(t, young.reconcile(ctx, key), name)
	}
	for _, name := range []string{"pending", "denied"} {
		_, err := client.PodCertificateRequests.Get(ctx, admin, metav1.NamespaceDefault, name)
		require.NoError(t, err, name)
	}

	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	gone := make(chan string, 2)
	old.requests.OnChange(func(old, new *certv1.PodCertificateRequest) {
		if new == nil {
			gone <- old.Name
		}
	})
	go func() { ended <- old.Run(run) }()
	for range 2 {
		select {
		case name := <-gone:
			_, err := client.PodCertificateRequests.Get(ctx, admin, metav1.NamespaceDefault, name)
			require.True(t, apierrors.IsNotFound(err), name)
		case <-time.After(30 * time.Second):
			t.Fatal("requests that are old stay")
		}
	}
	stop()
	require.NoError(t, <-ended)
}

func create(t *testing.T, c client.Interface, name string) *certv1.PodCertificateRequest {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	r, err := client.PodCertificateRequests.Create(t.Context(), c, &certv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec: certv1.PodCertificateRequestSpec{
			SignerName: "a.test/signer", PodName: "p", PodUID: "1", ServiceAccountName: "s", ServiceAccountUID: "2", NodeName: "n", NodeUID: "3",
			StubPKCS10Request: stub,
		},
	})
	require.NoError(t, err)
	return r
}

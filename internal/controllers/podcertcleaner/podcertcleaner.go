// Package podcertcleaner deletes PodCertificateRequests a quarter of an hour after they were made, whatever has become of
// them (KEP-4317): by then the kubelet that made one has its certificate or has given up.
//
// Watches: PodCertificateRequests. Writes: deletes them.
package podcertcleaner

import (
	"context"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "podcertificaterequest-cleaner-controller"

// keep is how long a request lives.
const keep = 15 * time.Minute

type controller struct {
	client   client.Interface
	requests *client.Informer[*certv1.PodCertificateRequest]
	queue    *client.Queue[object.Key]
	keep     time.Duration
}

// New registers the controller.
func New(d controllers.Deps) controllers.Controller { return newController(d, keep) }

func newController(d controllers.Deps, keep time.Duration) *controller {
	c := &controller{
		client:   d.Client("podcertificaterequestcleaner"),
		requests: client.InformerFor(d.Informers, client.PodCertificateRequests),
		queue:    client.NewQueue[object.Key](Name),
		keep:     keep,
	}
	c.requests.OnChange(func(old, new *certv1.PodCertificateRequest) {
		if new != nil && (old == nil || old.UID != new.UID) {
			c.queue.Add(object.KeyOf(new))
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	r, ok := c.requests.Get(key.Namespace, key.Name)
	if !ok || r.DeletionTimestamp != nil {
		return nil
	}
	if left := time.Until(r.CreationTimestamp.Add(c.keep)); left > 0 {
		c.queue.AddAfter(key, left)
		return nil
	}
	err := c.client.Delete(ctx, client.PodCertificateRequests.GVR, key.Namespace, key.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(r.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

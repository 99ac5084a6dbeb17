// Package tokencleaner deletes bootstrap tokens when they expire.
//
// Watches: Secrets of the type bootstrap.kubernetes.io/token in kube-system. Writes: deletes them.
package tokencleaner

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "token-cleaner-controller"

type controller struct {
	client  client.Interface
	secrets *client.Informer[*corev1.Secret]
	queue   *client.Queue[object.Key]
}

// New registers the controller.
func New(d controllers.Deps) controllers.Controller {
	c := &controller{
		client:  d.Client("token-cleaner"),
		secrets: client.InformerWith(d.Informers, client.Secrets, client.Select{Namespace: metav1.NamespaceSystem, Fields: "type=" + string(bootstrapapi.SecretTypeBootstrapToken)}),
		queue:   client.NewQueue[object.Key](Name),
	}
	c.secrets.OnChange(func(_, new *corev1.Secret) {
		if new != nil {
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
	s, ok := c.secrets.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	left, expired := secrets.GetExpiration(s, time.Now())
	if !expired {
		if left > 0 {
			c.queue.AddAfter(key, left)
		}
		return nil
	}
	err := c.client.Delete(ctx, client.Secrets.GVR, key.Namespace, key.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// Package serviceaccount keeps the ServiceAccount "default" in every namespace.
//
// Watches: Namespaces, ServiceAccounts. Writes: ServiceAccounts.
package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "serviceaccount-controller"

const account = "default"

type controller struct {
	client     client.Interface
	namespaces *client.Informer[*corev1.Namespace]
	accounts   *client.Informer[*corev1.ServiceAccount]
	queue      *client.Queue[string] // namespaces
	workers    int
}

// New registers the controller. workers is how many namespaces are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:     d.Client("service-account-controller"),
		namespaces: client.InformerFor(d.Informers, client.Namespaces),
		accounts:   client.InformerFor(d.Informers, client.ServiceAccounts),
		queue:      client.NewQueue[string](Name),
		workers:    workers,
	}
	c.namespaces.OnChange(func(_, new *corev1.Namespace) {
		if new != nil {
			c.queue.Add(new.Name)
		}
	})
	c.accounts.OnChange(func(old, new *corev1.ServiceAccount) {
		if new == nil && old.Name == account {
			c.queue.Add(old.Namespace)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, namespace string) error {
	ns, ok := c.namespaces.Get("", namespace)
	if !ok || ns.Status.Phase == corev1.NamespaceTerminating || ns.DeletionTimestamp != nil {
		return nil
	}
	if _, ok := c.accounts.Get(namespace, account); ok {
		return nil
	}
	_, err := client.ServiceAccounts.Create(ctx, c.client, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
	})
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

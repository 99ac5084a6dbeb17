// Package rootca keeps the ConfigMap kube-root-ca.crt in every namespace: the authorities by which a pod
// checks the API server's certificate (KEP-1205).
//
// Watches: Namespaces, ConfigMaps of that name. Writes: those ConfigMaps; edits are reverted.
package rootca

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "root-ca-certificate-publisher-controller"

// The ConfigMap and its key, as projected volumes name them.
const (
	ConfigMap = "kube-root-ca.crt"
	Key       = "ca.crt"
)

const (
	annotation  = "kubernetes.io/description"
	description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

type controller struct {
	client     client.Interface
	namespaces *client.Informer[*corev1.Namespace]
	maps       *client.Informer[*corev1.ConfigMap]
	queue      *client.Queue[string] // namespaces
	workers    int
	bundle     string
}

// New registers the controller. bundle is the PEM text to publish.
func New(d controllers.Deps, workers int, bundle []byte) controllers.Controller {
	c := &controller{
		client:     d.Client("root-ca-cert-publisher"),
		namespaces: client.InformerFor(d.Informers, client.Namespaces),
		maps:       client.InformerWith(d.Informers, client.ConfigMaps, client.Select{Fields: "metadata.name=" + ConfigMap}),
		queue:      client.NewQueue[string](Name),
		workers:    workers,
		bundle:     string(bundle),
	}
	c.namespaces.OnChange(func(_, new *corev1.Namespace) {
		if new != nil {
			c.queue.Add(new.Name)
		}
	})
	c.maps.OnChange(func(old, new *corev1.ConfigMap) {
		if old != nil {
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
	data := map[string]string{Key: c.bundle}
	have, ok := c.maps.Get(namespace, ConfigMap)
	if !ok {
		_, err := client.ConfigMaps.Create(ctx, c.client, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ConfigMap, Annotations: map[string]string{annotation: description}},
			Data:       data,
		})
		// Exists: the cache is behind, and what it will show wakes us. Not found: the namespace is gone.
		if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	}
	if maps.Equal(have.Data, data) && have.Annotations[annotation] == description {
		return nil
	}
	next := have.DeepCopy()
	next.Data = data
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations[annotation] = description
	_, err := client.ConfigMaps.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

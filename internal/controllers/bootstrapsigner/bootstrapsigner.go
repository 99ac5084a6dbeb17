// Package bootstrapsigner signs the ConfigMap kube-public/cluster-info with every bootstrap token that may be used for it, so
// that a node that has nothing but a token can tell that the authority in it is the cluster's.
// See https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing.
//
// Watches: Secrets of the type bootstrap.kubernetes.io/token in kube-system, ConfigMaps of kube-public. Writes:
// the keys jws-kubeconfig-* of that ConfigMap.
package bootstrapsigner

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	"k8s.io/cluster-bootstrap/util/secrets"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "bootstrap-signer-controller"

type controller struct {
	client  client.Interface
	secrets *client.Informer[*corev1.Secret]
	maps    *client.Informer[*corev1.ConfigMap]
	queue   *client.Queue[struct{}]
}

// New registers the controller.
func New(d controllers.Deps) controllers.Controller {
	c := &controller{
		client:  d.Client("bootstrap-signer"),
		secrets: client.InformerWith(d.Informers, client.Secrets, client.Select{Namespace: metav1.NamespaceSystem, Fields: "type=" + string(bootstrapapi.SecretTypeBootstrapToken)}),
		maps:    client.InformerWith(d.Informers, client.ConfigMaps, client.Select{Namespace: metav1.NamespacePublic, Fields: "metadata.name=" + bootstrapapi.ConfigMapClusterInfo}),
		queue:   client.NewQueue[struct{}](Name),
	}
	c.secrets.OnChange(func(_, _ *corev1.Secret) { c.queue.Add(struct{}{}) })
	c.maps.OnChange(func(_, _ *corev1.ConfigMap) { c.queue.Add(struct{}{}) })
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, _ struct{}) error {
	info, ok := c.maps.Get(metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo)
	if !ok {
		return nil
	}
	content, ok := info.Data[bootstrapapi.KubeConfigKey]
	if !ok {
		return nil
	}
	data := map[string]string{}
	for k, v := range info.Data {
		if !strings.HasPrefix(k, bootstrapapi.JWSSignatureKeyPrefix) {
			data[k] = v
		}
	}
	now := time.Now()
	for _, s := range c.secrets.List() {
		id, secret, ok := usable(s, now)
		if !ok {
			continue
		}
		signature, err := jws.ComputeDetachedSignature(content, id, secret)
		if err != nil {
			return fmt.Errorf("signing cluster-info with token %s: %w", id, err)
		}
		data[bootstrapapi.JWSSignatureKeyPrefix+id] = signature
		if left, _ := secrets.GetExpiration(s, now); left > 0 {
			c.queue.AddAfter(struct{}{}, left)
		}
	}
	if maps.Equal(info.Data, data) {
		return nil
	}
	next := info.DeepCopy()
	next.Data = data
	_, err := client.ConfigMaps.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// usable gives the parts of a token that may sign now.
func usable(s *corev1.Secret, now time.Time) (id, secret string, ok bool) {
	nameID, ok := secrets.ParseName(s.Name)
	if !ok || s.DeletionTimestamp != nil {
		return "", "", false
	}
	id = secrets.GetData(s, bootstrapapi.BootstrapTokenIDKey)
	secret = secrets.GetData(s, bootstrapapi.BootstrapTokenSecretKey)
	if id != nameID || secret == "" || secrets.HasExpired(s, now) || secrets.GetData(s, bootstrapapi.BootstrapTokenUsageSigningKey) != "true" {
		return "", "", false
	}
	return id, secret, true
}

// Package trustbundle keeps the ClusterTrustBundle of the signer kubernetes.io/kube-apiserver-serving: the authorities by
// which anybody in the cluster checks the API server's certificate (KEP-3257). It holds what the ConfigMaps
// kube-root-ca.crt hold, once for all namespaces.
//
// Watches: ClusterTrustBundles of that signer. Writes: one of them, edits are reverted; others of the signer are deleted.
package trustbundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	certv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "kube-apiserver-serving-clustertrustbundle-publisher-controller"

// Signer is whose bundle this is.
const Signer = "kubernetes.io/kube-apiserver-serving"

// hashLength is how many digits of the bundle's hash its object is named by.
const hashLength = 24

type controller struct {
	client  client.Interface
	bundles *client.Informer[*certv1.ClusterTrustBundle]
	queue   *client.Queue[string] // one key: all are looked at together
	name    string                // of the right object
	pem     string
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// New registers the controller. pem is the text to publish: certificates of authorities.
func New(d controllers.Deps, pem []byte) controllers.Controller {
	c := &controller{
		client:  d.Client("kube-apiserver-serving-clustertrustbundle-publisher"),
		bundles: client.InformerWith(d.Informers, client.ClusterTrustBundles, client.Select{Fields: "spec.signerName=" + Signer}),
		queue:   client.NewQueue[string](Name),
		name:    objectName(pem),
		pem:     string(pem),
		total:   d.Counter("clustertrustbundle_publisher_sync_total", "Number of syncs that occurred in cluster trust bundle publisher.", "code"),
		seconds: d.Histograms("clustertrustbundle_publisher_sync_duration_seconds", "The time it took to sync a cluster trust bundle.",
			prometheus.ExponentialBuckets(0.001, 2, 15), "code"),
	}
	c.bundles.OnChange(func(_, _ *certv1.ClusterTrustBundle) { c.queue.Add(Signer) })
	return c
}

// objectName changes with the bundle, so that readers of the old one never see it change under them.
func objectName(pem []byte) string {
	sum := sha256.Sum256(pem)
	return strings.ReplaceAll(Signer, "/", ":") + ":" + hex.EncodeToString(sum[:])[:hashLength]
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	c.queue.Add(Signer) // where there is no bundle, nothing else tells of it
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, _ string) error {
	start := time.Now()
	err := c.publish(ctx)
	if err == nil {
		err = c.removeOthers(ctx)
	}
	code := code(err)
	c.total.WithLabelValues(code).Inc()
	c.seconds.WithLabelValues(code).Observe(time.Since(start).Seconds())
	return err
}

func (c *controller) publish(ctx context.Context) error {
	have, ok := c.bundles.Get("", c.name)
	if !ok {
		_, err := client.ClusterTrustBundles.Create(ctx, c.client, &certv1.ClusterTrustBundle{
			ObjectMeta: metav1.ObjectMeta{Name: c.name},
			Spec:       certv1.ClusterTrustBundleSpec{SignerName: Signer, TrustBundle: c.pem},
		})
		if apierrors.IsAlreadyExists(err) {
			return nil // the cache is behind, and what it will show wakes us
		}
		return err
	}
	if have.Spec.TrustBundle == c.pem {
		return nil
	}
	next := have.DeepCopy()
	next.Spec.TrustBundle = c.pem
	_, err := client.ClusterTrustBundles.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *controller) removeOthers(ctx context.Context) error {
	var errs []error
	for _, b := range c.bundles.List() {
		if b.Name == c.name || b.DeletionTimestamp != nil {
			continue
		}
		err := c.client.Delete(ctx, client.ClusterTrustBundles.GVR, "", b.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(b.UID))})
		if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// code is the status that a pass ended with, as the metrics tell it.
func code(err error) string {
	if err == nil {
		return strconv.Itoa(http.StatusOK)
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code != 0 {
		return strconv.Itoa(int(status.Status().Code))
	}
	return strconv.Itoa(http.StatusInternalServerError)
}

// Package legacytokens takes tokens of the old kind out of use, which clusters of old made for every ServiceAccount unasked and which never
// expire (KEP-2799): one that nobody used for a long time is marked invalid, which a user can take back, and one that nobody missed
// for as long again is deleted.
//
// Watches: Secrets of the type kubernetes.io/service-account-token, ServiceAccounts, Pods, the ConfigMap in which API servers tell since when
// they write the day of the last use on secrets. Writes: a label of the Secrets; deletes them.
//
// A secret that a user made, which is one that its account does not list, is never touched, nor is one that a pod mounts. Every
// secret is looked at when it is due, and nothing is done where API servers do not tell of use.
package legacytokens

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "legacy-serviceaccount-token-cleaner-controller"

// DefaultPeriod is how long a token may be idle.
const DefaultPeriod = 365 * 24 * time.Hour

// Names that API servers know too. Values of labels are dates of UTC.
const (
	trackingMap  = "kube-apiserver-legacy-service-account-token-tracking"
	trackingKey  = "since"
	lastUsed     = "kubernetes.io/legacy-token-last-used"
	invalidSince = "kubernetes.io/legacy-token-invalid-since"
)

// mounted is when a secret that a pod mounts is looked at again.
const mounted = 24 * time.Hour

type controller struct {
	client   client.Interface
	period   time.Duration
	secrets  *client.Informer[*corev1.Secret]
	accounts *client.Informer[*corev1.ServiceAccount]
	pods     *client.Informer[*corev1.Pod]
	maps     *client.Informer[*corev1.ConfigMap]
	queue    *client.Queue[object.Key]
}

// New registers the controller. A token may be idle for the period before it becomes invalid, and again before it is deleted.
func New(d controllers.Deps, period time.Duration) controllers.Controller {
	c := &controller{
		client:   d.Client("legacy-service-account-token-cleaner"),
		period:   period,
		secrets:  client.InformerWith(d.Informers, client.Secrets, client.Select{Fields: "type=" + string(corev1.SecretTypeServiceAccountToken)}),
		accounts: client.InformerFor(d.Informers, client.ServiceAccounts),
		pods:     client.InformerFor(d.Informers, client.Pods),
		maps:     client.InformerWith(d.Informers, client.ConfigMaps, client.Select{Namespace: metav1.NamespaceSystem, Fields: "metadata.name=" + trackingMap}),
		queue:    client.NewQueue[object.Key](Name),
	}
	c.secrets.OnChange(func(_, new *corev1.Secret) {
		if new != nil {
			c.queue.Add(object.KeyOf(new))
		}
	})
	c.accounts.OnChange(func(_, new *corev1.ServiceAccount) {
		if new == nil {
			return
		}
		for _, r := range new.Secrets {
			c.queue.Add(object.Key{Namespace: new.Namespace, Name: r.Name})
		}
	})
	c.maps.OnChange(func(_, _ *corev1.ConfigMap) {
		for _, s := range c.secrets.List() {
			c.queue.Add(object.KeyOf(s))
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
	if !ok || s.DeletionTimestamp != nil || !c.unasked(s) {
		return nil
	}
	m, ok := c.maps.Get(metav1.NamespaceSystem, trackingMap)
	if !ok {
		return nil
	}
	since, err := time.Parse(time.DateOnly, m.Data[trackingKey])
	if err != nil {
		return nil // API servers put it right, which the informer tells of
	}
	now := time.Now()
	what, at := next(s, since, c.period, now)
	if left := at.Sub(now); left > 0 {
		c.queue.AddAfter(key, left)
		return nil
	}
	if c.isMounted(s) {
		c.queue.AddAfter(key, mounted)
		return nil
	}
	switch what {
	case invalidate:
		err = c.label(ctx, s, now)
	case remove:
		err = c.client.Delete(ctx, client.Secrets.GVR, s.Namespace, s.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}})
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it has changed, which the informer tells of
	}
	return err
}

// unasked tells whether the secret was made for an account by a cluster of old: the two name each other.
func (c *controller) unasked(s *corev1.Secret) bool {
	a, ok := c.accounts.Get(s.Namespace, s.Annotations[corev1.ServiceAccountNameKey])
	return ok && s.Annotations[corev1.ServiceAccountUIDKey] == string(a.UID) &&
		slices.ContainsFunc(a.Secrets, func(r corev1.ObjectReference) bool { return r.Name == s.Name })
}

func (c *controller) isMounted(s *corev1.Secret) bool {
	return slices.ContainsFunc(c.pods.InNamespace(s.Namespace), func(p *corev1.Pod) bool { return mounts(p, s.Name) })
}

func mounts(p *corev1.Pod, secret string) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		if v.Secret != nil {
			return v.Secret.SecretName == secret
		}
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool {
			return p.Secret != nil && p.Secret.Name == secret
		})
	})
}

// step is what is done to a secret when it is due.
type step int

const (
	invalidate step = iota
	remove
)

// next is the step that a secret is in for, and when it is due. It was idle since its token was last used, but not since before it was
// made, nor since before anybody took notice; and an invalid one since it became so.
func next(s *corev1.Secret, tracked time.Time, period time.Duration, now time.Time) (step, time.Time) {
	idle := tracked
	after := func(t time.Time) {
		if t.After(idle) {
			idle = t
		}
	}
	after(s.CreationTimestamp.Time)
	if t, err := time.Parse(time.DateOnly, s.Labels[lastUsed]); err == nil {
		after(t)
	}
	mark, isMarked := s.Labels[invalidSince]
	if !isMarked {
		return invalidate, idle.Add(period)
	}
	t, err := time.Parse(time.DateOnly, mark)
	if err != nil {
		return invalidate, now // a date that nobody can read begins today
	}
	after(t)
	return remove, idle.Add(period)
}

// label marks the secret invalid from today on.
func (c *controller) label(ctx context.Context, s *corev1.Secret, now time.Time) error {
	_, err := client.Secrets.MergePatch(ctx, c.client, s.Namespace, s.Name, map[string]any{"metadata": map[string]any{"uid": s.UID,
		"resourceVersion": s.ResourceVersion, "labels": map[string]string{invalidSince: now.UTC().Format(time.DateOnly)}}})
	return err
}

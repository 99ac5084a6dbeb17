// Package bootstrap sees to the objects that every cluster has from its first moment: the namespaces of the
// system, the default roles and bindings of configs/rbac, the two priority classes of the system, and the
// config map by which extension API servers learn whom to trust.
//
// [Bootstrap.Run] lists what is there, creates what lacks and puts back what the defaults have gained: rules of roles and
// subjects of bindings are added, never taken away, and objects with the annotation
// rbac.authorization.kubernetes.io/autoupdate: "false" are left alone
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation). A start that finds everything in order
// writes nothing. Several API servers may do this at once.
package bootstrap

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Config says what besides the fixed defaults is made.
type Config struct {
	// Authentication is what extension API servers are told; nil: nothing.
	Authentication *Authentication
	// SkipRBAC leaves roles and bindings out, for servers that do not use them.
	SkipRBAC bool
}

// Bootstrap makes the objects of a start.
type Bootstrap struct {
	c    client.Interface
	cfg  Config
	done chan struct{}
}

// New makes a bootstrap over a client with all rights.
func New(c client.Interface, cfg Config) *Bootstrap {
	return &Bootstrap{c: c, cfg: cfg, done: make(chan struct{})}
}

// Done is closed when every object is there.
func (b *Bootstrap) Done() <-chan struct{} { return b.done }

// Ready is a readiness check: nil once every object is there.
func (b *Bootstrap) Ready(context.Context) error {
	select {
	case <-b.done:
		return nil
	default:
		return fmt.Errorf("the default objects have not been made yet")
	}
}

// Run makes the objects and returns. While the server cannot do it, it tries again, ever more slowly up to
// every five seconds, until ctx ends.
func (b *Bootstrap) Run(ctx context.Context) error {
	log := slog.Default().With("component", "bootstrap")
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		start := time.Now()
		err := b.Once(ctx)
		if err == nil {
			log.Debug("default objects are in place", "took", time.Since(start))
			close(b.done)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		log.Warn("cannot make the default objects yet", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Once makes one attempt.
func (b *Bootstrap) Once(ctx context.Context) error {
	if err := b.namespaces(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.priorityClasses(ctx) })
	g.Go(func() error { return b.authentication(ctx) })
	if !b.cfg.SkipRBAC {
		g.Go(func() error { return b.rbac(ctx) })
	}
	return g.Wait()
}

func (b *Bootstrap) namespaces(ctx context.Context) error {
	var want []*corev1.Namespace
	for _, n := range []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault} {
		want = append(want, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n}})
	}
	return reconcile(ctx, b.c, client.Namespaces, want, nil)
}

func (b *Bootstrap) priorityClasses(ctx context.Context) error {
	class := func(name string, value int32, text string) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, Description: text}
	}
	return reconcile(ctx, b.c, client.PriorityClasses, []*schedulingv1.PriorityClass{
		class("system-node-critical", 2000001000, "Used for system critical pods that must not be moved from their current node."),
		class("system-cluster-critical", 2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
	}, nil)
}

func (b *Bootstrap) rbac(ctx context.Context) error {
	d, err := Defaults()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return reconcile(ctx, b.c, client.ClusterRoles, d.ClusterRoles, func(have, want *rbacv1.ClusterRole) bool {
			return mergeClusterRole(have, want)
		})
	})
	g.Go(func() error {
		return reconcile(ctx, b.c, client.Roles, d.Roles, func(have, want *rbacv1.Role) bool {
			return autoUpdated(have) && addRules(&have.Rules, want.Rules)
		})
	})
	g.Go(func() error {
		return reconcile(ctx, b.c, client.ClusterRoleBindings, d.ClusterRoleBindings, func(have, want *rbacv1.ClusterRoleBinding) bool {
			return autoUpdated(have) && have.RoleRef == want.RoleRef && addSubjects(&have.Subjects, want.Subjects)
		})
	})
	g.Go(func() error {
		return reconcile(ctx, b.c, client.RoleBindings, d.RoleBindings, func(have, want *rbacv1.RoleBinding) bool {
			return autoUpdated(have) && have.RoleRef == want.RoleRef && addSubjects(&have.Subjects, want.Subjects)
		})
	})
	return g.Wait()
}

// parallel bounds the writes in flight: enough for the store to commit them together.
const parallel = 32

// reconcile creates the wanted objects that are not there. merge changes one that is there and says whether it did; nil leaves
// it alone.
func reconcile[T client.Object](ctx context.Context, c client.Interface, r client.Resource[T], want []T, merge func(have, want T) bool) error {
	list, _, err := r.List(ctx, c, "", metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing %s: %w", r.GVR.Resource, err)
	}
	have := make(map[object.Key]T, len(list))
	for _, o := range list {
		have[object.KeyOf(o)] = o
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, w := range want {
		cur, ok := have[object.KeyOf(w)]
		if ok && (merge == nil || !merge(cur.DeepCopyObject().(T), w)) {
			continue
		}
		g.Go(func() error {
			var err error
			if ok {
				_, err = r.Modify(ctx, c, w.GetNamespace(), w.GetName(), func(o T) bool { return merge(o, w) })
			} else {
				_, err = r.Create(ctx, c, w)
			}
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("making %s %s: %w", r.GVR.Resource, object.KeyOf(w), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// authentication writes the config map for extension API servers.
func (b *Bootstrap) authentication(ctx context.Context) error {
	if b.cfg.Authentication == nil {
		return nil
	}
	want, err := b.cfg.Authentication.configMap()
	if err != nil {
		return err
	}
	cur, err := client.ConfigMaps.Get(ctx, b.c, want.Namespace, want.Name)
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.ConfigMaps.Create(ctx, b.c, want)
	case err == nil && !equality.Semantic.DeepEqual(cur.Data, want.Data):
		_, err = client.ConfigMaps.Modify(ctx, b.c, want.Namespace, want.Name, func(o *corev1.ConfigMap) bool {
			o.Data = want.Data
			return true
		})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("config map %s: %w", want.Name, err)
	}
	return nil
}

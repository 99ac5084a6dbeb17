package authn

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// deletionLeeway is how long a token stays good after the object it belongs to was marked for deletion: what shuts down
// still has to talk.
const deletionLeeway = time.Minute

// lookup reads the objects that tokens belong to.
type lookup struct {
	api client.Interface
	now func() time.Time
}

// get reads from the server's cache; what is not there, or not as good says, is read again at its newest state, since
// another server may have stored it a moment ago.
func get[T client.Object](ctx context.Context, l lookup, r client.Resource[T], namespace, name string, good func(T) bool) (T, bool, error) {
	var none T
	o, err := l.api.Get(ctx, r.GVR, namespace, name, metav1.GetOptions{ResourceVersion: "0"})
	if err == nil {
		if t, ok := o.(T); ok && good(t) {
			return t, true, nil
		}
	} else if !apierrors.IsNotFound(err) {
		return none, false, err
	}
	t, err := r.Get(ctx, l.api, namespace, name)
	if apierrors.IsNotFound(err) {
		return none, false, nil
	}
	if err != nil {
		return none, false, err
	}
	return t, good(t), nil
}

// alive says whether an object is the one with that UID and not on its way out for longer than the leeway.
func (l lookup) alive(o metav1.Object, uid string) bool {
	if uid != "" && string(o.GetUID()) != uid {
		return false
	}
	d := o.GetDeletionTimestamp()
	return d == nil || l.now().Before(d.Add(deletionLeeway))
}

func (l lookup) serviceAccount(ctx context.Context, namespace, name, uid string) (*corev1.ServiceAccount, bool, error) {
	return get(ctx, l, client.ServiceAccounts, namespace, name, func(o *corev1.ServiceAccount) bool { return l.alive(o, uid) })
}

func (l lookup) pod(ctx context.Context, namespace, name, uid string) (*corev1.Pod, bool, error) {
	return get(ctx, l, client.Pods, namespace, name, func(o *corev1.Pod) bool { return l.alive(o, uid) })
}

func (l lookup) node(ctx context.Context, name, uid string) (*corev1.Node, bool, error) {
	return get(ctx, l, client.Nodes, "", name, func(o *corev1.Node) bool { return l.alive(o, uid) })
}

func (l lookup) secret(ctx context.Context, namespace, name, uid string) (*corev1.Secret, bool, error) {
	return get(ctx, l, client.Secrets, namespace, name, func(o *corev1.Secret) bool { return l.alive(o, uid) })
}

package client

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	certv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Resource gives the calls of [Interface] the Go type of one resource.
type Resource[T Object] struct{ GVR GVR }

// The resources that roles use.
var (
	Pods                       = resource[*corev1.Pod](corev1.SchemeGroupVersion, "pods")
	Nodes                      = resource[*corev1.Node](corev1.SchemeGroupVersion, "nodes")
	Services                   = resource[*corev1.Service](corev1.SchemeGroupVersion, "services")
	Endpoints                  = resource[*corev1.Endpoints](corev1.SchemeGroupVersion, "endpoints")
	ConfigMaps                 = resource[*corev1.ConfigMap](corev1.SchemeGroupVersion, "configmaps")
	Secrets                    = resource[*corev1.Secret](corev1.SchemeGroupVersion, "secrets")
	Namespaces                 = resource[*corev1.Namespace](corev1.SchemeGroupVersion, "namespaces")
	ServiceAccounts            = resource[*corev1.ServiceAccount](corev1.SchemeGroupVersion, "serviceaccounts")
	Events                     = resource[*corev1.Event](corev1.SchemeGroupVersion, "events")
	ReplicationControllers     = resource[*corev1.ReplicationController](corev1.SchemeGroupVersion, "replicationcontrollers")
	Deployments                = resource[*appsv1.Deployment](appsv1.SchemeGroupVersion, "deployments")
	ReplicaSets                = resource[*appsv1.ReplicaSet](appsv1.SchemeGroupVersion, "replicasets")
	DaemonSets                 = resource[*appsv1.DaemonSet](appsv1.SchemeGroupVersion, "daemonsets")
	StatefulSets               = resource[*appsv1.StatefulSet](appsv1.SchemeGroupVersion, "statefulsets")
	ControllerRevisions        = resource[*appsv1.ControllerRevision](appsv1.SchemeGroupVersion, "controllerrevisions")
	Jobs                       = resource[*batchv1.Job](batchv1.SchemeGroupVersion, "jobs")
	CronJobs                   = resource[*batchv1.CronJob](batchv1.SchemeGroupVersion, "cronjobs")
	PersistentVolumeClaims     = resource[*corev1.PersistentVolumeClaim](corev1.SchemeGroupVersion, "persistentvolumeclaims")
	ServiceCIDRs               = resource[*networkingv1.ServiceCIDR](networkingv1.SchemeGroupVersion, "servicecidrs")
	IPAddresses                = resource[*networkingv1.IPAddress](networkingv1.SchemeGroupVersion, "ipaddresses")
	EndpointSlices             = resource[*discoveryv1.EndpointSlice](discoveryv1.SchemeGroupVersion, "endpointslices")
	Leases                     = resource[*coordv1.Lease](coordv1.SchemeGroupVersion, "leases")
	ClusterRoles               = resource[*rbacv1.ClusterRole](rbacv1.SchemeGroupVersion, "clusterroles")
	ClusterRoleBindings        = resource[*rbacv1.ClusterRoleBinding](rbacv1.SchemeGroupVersion, "clusterrolebindings")
	Roles                      = resource[*rbacv1.Role](rbacv1.SchemeGroupVersion, "roles")
	RoleBindings               = resource[*rbacv1.RoleBinding](rbacv1.SchemeGroupVersion, "rolebindings")
	CertificateSigningRequests = resource[*certv1.CertificateSigningRequest](certv1.SchemeGroupVersion, "certificatesigningrequests")
	ClusterTrustBundles        = resource[*certv1.ClusterTrustBundle](certv1.SchemeGroupVersion, "clustertrustbundles")
	PodCertificateRequests     = resource[*certv1.PodCertificateRequest](certv1.SchemeGroupVersion, "podcertificaterequests")
	PriorityClasses            = resource[*schedulingv1.PriorityClass](schedulingv1.SchemeGroupVersion, "priorityclasses")
	RuntimeClasses             = resource[*nodev1.RuntimeClass](nodev1.SchemeGroupVersion, "runtimeclasses")
)

func resource[T Object](gv schema.GroupVersion, name string) Resource[T] {
	return Resource[T]{gv.WithResource(name)}
}

// Get one object. An empty resourceVersion reads the newest.
func (r Resource[T]) Get(ctx context.Context, c Interface, namespace, name string) (T, error) {
	return typed[T](c.Get(ctx, r.GVR, namespace, name, metav1.GetOptions{}))
}

// List all objects that the options select, in one page or the page asked for.
func (r Resource[T]) List(ctx context.Context, c Interface, namespace string, o metav1.ListOptions) ([]T, string, error) {
	l, err := c.List(ctx, r.GVR, namespace, o)
	if err != nil {
		return nil, "", err
	}
	out := make([]T, 0, len(l.Items))
	for _, i := range l.Items {
		t, ok := i.(T)
		if !ok {
			return nil, "", fmt.Errorf("list of %s holds a %T", r.GVR.Resource, i)
		}
		out = append(out, t)
	}
	return out, l.ResourceVersion, nil
}

// Create obj.
func (r Resource[T]) Create(ctx context.Context, c Interface, obj T) (T, error) {
	return typed[T](c.Create(ctx, r.GVR, obj, metav1.CreateOptions{}))
}

// Update replaces the object, guarded by its resourceVersion unless that is empty.
func (r Resource[T]) Update(ctx context.Context, c Interface, obj T) (T, error) {
	return typed[T](c.Update(ctx, r.GVR, obj, metav1.UpdateOptions{}))
}

// CreateAs makes obj, whose fields the manager then manages.
func (r Resource[T]) CreateAs(ctx context.Context, c Interface, obj T, manager string) (T, error) {
	return typed[T](c.Create(ctx, r.GVR, obj, metav1.CreateOptions{FieldManager: manager}))
}

// UpdateAs replaces the object, or its status when sub says so; the manager manages what changed.
func (r Resource[T]) UpdateAs(ctx context.Context, c Interface, obj T, manager string, sub ...string) (T, error) {
	return typed[T](c.Update(ctx, r.GVR, obj, metav1.UpdateOptions{FieldManager: manager}, sub...))
}

// UpdateStatus replaces the object's status.
func (r Resource[T]) UpdateStatus(ctx context.Context, c Interface, obj T) (T, error) {
	return typed[T](c.Update(ctx, r.GVR, obj, metav1.UpdateOptions{}, "status"))
}

// MergePatch sends a JSON merge patch made of v.
func (r Resource[T]) MergePatch(ctx context.Context, c Interface, namespace, name string, v any, sub ...string) (T, error) {
	data, err := json.Marshal(v)
	if err != nil {
		var none T
		return none, err
	}
	return typed[T](c.Patch(ctx, r.GVR, namespace, name, types.MergePatchType, data, metav1.PatchOptions{}, sub...))
}

// Delete one object with the server's default grace and propagation.
func (r Resource[T]) Delete(ctx context.Context, c Interface, namespace, name string) error {
	return c.Delete(ctx, r.GVR, namespace, name, metav1.DeleteOptions{})
}

// Modify reads the object, lets change alter a copy and writes that, again as long as another
// writer came first. change returns false when there is nothing to write. sub may be "status".
func (r Resource[T]) Modify(ctx context.Context, c Interface, namespace, name string, change func(T) bool, sub ...string) (T, error) {
	for {
		cur, err := r.Get(ctx, c, namespace, name)
		if err != nil {
			return cur, err
		}
		next := cur.DeepCopyObject().(T)
		if !change(next) {
			return cur, nil
		}
		got, err := typed[T](c.Update(ctx, r.GVR, next, metav1.UpdateOptions{}, sub...))
		if !apierrors.IsConflict(err) {
			return got, err
		}
		if ctx.Err() != nil {
			return got, ctx.Err()
		}
	}
}

func typed[T Object](o Object, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	t, ok := o.(T)
	if !ok {
		return none, fmt.Errorf("the server answered with a %T in place of a %T", o, none)
	}
	return t, nil
}

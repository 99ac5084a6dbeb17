package authz

import (
	"context"
	"fmt"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// refKind is a kind of object that a node may need.
type refKind string

const (
	podRef            refKind = "pod"
	secretRef         refKind = "secret"
	configMapRef      refKind = "configmap"
	claimRef          refKind = "persistentvolumeclaim"
	volumeRef         refKind = "persistentvolume"
	accountRef        refKind = "serviceaccount"
	resourceClaimRef  refKind = "resourceclaim"
	attachmentRef     refKind = "volumeattachment"
	sliceRef          refKind = "resourceslice"
	podCertificateRef refKind = "podcertificaterequest"
)

// graph answers whether an object belongs to a pod of a node. It keeps nothing: the server's cache finds the pods of a node by an index, and
// from there the few references of at most some hundred pods are followed on demand, which costs less than to keep edges for
// every object of a cluster, or pods.
type graph struct{ api client.Interface }

var (
	claims         = client.Resource[*corev1.PersistentVolumeClaim]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")}
	volumes        = client.Resource[*corev1.PersistentVolume]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumes")}
	attachments    = client.Resource[*storagev1.VolumeAttachment]{GVR: storagev1.SchemeGroupVersion.WithResource("volumeattachments")}
	resourceSlices = client.Resource[*resourcev1.ResourceSlice]{GVR: resourcev1.SchemeGroupVersion.WithResource("resourceslices")}
	podCerts       = client.Resource[*certv1.PodCertificateRequest]{GVR: certv1.SchemeGroupVersion.WithResource("podcertificaterequests")}
)

// check gives the reason why a node may not use an object; empty when it may. When the cache knows no relation, the newest
// state is asked: the kubelet may have heard of a pod a moment earlier.
func (g *graph) check(ctx context.Context, node string, kind refKind, namespace, name string) (string, error) {
	no := fmt.Sprintf("no relationship found between node '%s' and this object", node)
	if name == "" {
		return "can only read single objects of this type", nil
	}
	switch kind {
	case attachmentRef:
		return ownedBy(ctx, g.api, attachments, "", name, no, func(o *storagev1.VolumeAttachment) bool { return o.Spec.NodeName == node })
	case sliceRef:
		return ownedBy(ctx, g.api, resourceSlices, "", name, no, func(o *resourcev1.ResourceSlice) bool { return o.Spec.NodeName != nil && *o.Spec.NodeName == node })
	case podCertificateRef:
		return ownedBy(ctx, g.api, podCerts, namespace, name, no, func(o *certv1.PodCertificateRequest) bool { return string(o.Spec.NodeName) == node })
	}
	for _, version := range []string{"0", ""} {
		pods, _, err := client.Pods.List(ctx, g.api, "", metav1.ListOptions{FieldSelector: "spec.nodeName=" + node, ResourceVersion: version})
		if err != nil {
			return "", err
		}
		if ok, err := g.related(ctx, pods, kind, namespace, name); ok || err != nil {
			return "", err
		}
	}
	return no, nil
}

// ownedBy decides by the object itself. One that does not exist is nobody's.
func ownedBy[T client.Object](ctx context.Context, c client.Interface, r client.Resource[T], namespace, name, no string, owns func(T) bool) (string, error) {
	o, err := r.Get(ctx, c, namespace, name)
	if apierrors.IsNotFound(err) {
		return no, nil
	}
	if err != nil || owns(o) {
		return "", err
	}
	return no, nil
}

// related says whether one of the pods needs the object.
func (g *graph) related(ctx context.Context, pods []*corev1.Pod, kind refKind, namespace, name string) (bool, error) {
	for _, p := range pods {
		if kind != volumeRef && kind != secretRef && p.Namespace != namespace {
			continue
		}
		if p.Namespace == namespace && refers(p, kind, name) {
			return true, nil
		}
	}
	if kind != volumeRef && kind != secretRef {
		return false, nil
	}
	for _, p := range pods {
		ok, err := g.byVolume(ctx, p, kind, namespace, name)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// byVolume follows the claims of a pod to their volumes and to the secrets that those name.
func (g *graph) byVolume(ctx context.Context, p *corev1.Pod, kind refKind, namespace, name string) (bool, error) {
	for _, claim := range claimsOf(p) {
		pvc, err := cached(ctx, g.api, claims, p.Namespace, claim)
		if err != nil {
			return false, err
		}
		if pvc == nil || pvc.Spec.VolumeName == "" {
			continue
		}
		if kind == volumeRef {
			if pvc.Spec.VolumeName == name {
				return true, nil
			}
			continue
		}
		pv, err := cached(ctx, g.api, volumes, "", pvc.Spec.VolumeName)
		if err != nil {
			return false, err
		}
		if pv != nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == p.Namespace && volumeSecret(pv, namespace, name) {
			return true, nil
		}
	}
	return false, nil
}

// cached reads what the server's cache holds; nil when it does not know the object.
func cached[T client.Object](ctx context.Context, c client.Interface, r client.Resource[T], namespace, name string) (T, error) {
	var none T
	o, err := c.Get(ctx, r.GVR, namespace, name, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	t, ok := o.(T)
	if !ok {
		return none, fmt.Errorf("the server gave a %T as one of %s", o, r.GVR.Resource)
	}
	return t, nil
}

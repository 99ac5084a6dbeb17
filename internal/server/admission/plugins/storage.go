package plugins

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

// newest picks the object created last; of several, the one whose name comes first.
func newest[T metav1.Object](all []T, is func(T) bool) (found T, ok bool) {
	for _, o := range all {
		if !is(o) {
			continue
		}
		if ok {
			a, b := o.GetCreationTimestamp(), found.GetCreationTimestamp()
			if a.Before(&b) || a.Equal(&b) && strings.Compare(o.GetName(), found.GetName()) >= 0 {
				continue
			}
		}
		found, ok = o, true
	}
	return found, ok
}

// defaultStorageClass gives claims that name no class the default one.
type defaultStorageClass struct {
	classes *client.Informer[*storagev1.StorageClass]
}

func newDefaultStorageClass(c *Config) *defaultStorageClass {
	return &defaultStorageClass{client.InformerFor(c.Informers, storageClasses)}
}

func (*defaultStorageClass) Name() string { return "DefaultStorageClass" }

func (p *defaultStorageClass) Mutate(_ context.Context, a *admission.Attributes) error {
	pvc, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || pvc.Spec.StorageClassName != nil {
		return nil
	}
	if _, ok := pvc.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return nil
	}
	if c, ok := newest(p.classes.List(), isDefaultStorageClass); ok {
		pvc.Spec.StorageClassName = &c.Name
	}
	return nil
}

func isDefaultStorageClass(c *storagev1.StorageClass) bool {
	return c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" ||
		c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
}

// inUseProtection keeps volumes, claims and attribute classes from vanishing while they are used: a controller takes the finalizer off.
type inUseProtection struct{}

func (inUseProtection) Name() string { return "StorageObjectInUseProtection" }

func (inUseProtection) Mutate(_ context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	var finalizer string
	switch a.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		finalizer = "kubernetes.io/pvc-protection"
	case *corev1.PersistentVolume:
		finalizer = "kubernetes.io/pv-protection"
	case *storagev1.VolumeAttributesClass:
		finalizer = "kubernetes.io/vac-protection"
	default:
		return nil
	}
	if f := a.Object.GetFinalizers(); !slices.Contains(f, finalizer) {
		a.Object.SetFinalizers(append(f, finalizer))
	}
	return nil
}

// claimResize lets a claim grow only where its class allows that.
type claimResize struct{ api client.Interface }

func (*claimResize) Name() string { return "PersistentVolumeClaimResize" }

func (p *claimResize) Validate(ctx context.Context, a *admission.Attributes) error {
	pvc, ok := a.Object.(*corev1.PersistentVolumeClaim)
	old, ok2 := a.OldObject.(*corev1.PersistentVolumeClaim)
	if !ok || !ok2 || a.Operation != admission.Update || a.Subresource != "" {
		return nil
	}
	was, is := old.Spec.Resources.Requests[corev1.ResourceStorage], pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	if is.Cmp(was) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return admission.Forbidden(a, "only bound persistent volume claims can be expanded")
	}
	class := old.Annotations[corev1.BetaStorageClassAnnotation]
	if class == "" && pvc.Spec.StorageClassName != nil {
		class = *pvc.Spec.StorageClassName
	}
	if class != "" {
		c, err := find(ctx, p.api, storageClasses, "", class)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err == nil && c.AllowVolumeExpansion != nil && *c.AllowVolumeExpansion {
			return nil
		}
	}
	return admission.Forbidden(a, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}

// defaultIngressClass gives ingresses that name no class the default one.
type defaultIngressClass struct {
	classes *client.Informer[*networkingv1.IngressClass]
}

func newDefaultIngressClass(c *Config) *defaultIngressClass {
	return &defaultIngressClass{client.InformerFor(c.Informers, ingressClasses)}
}

func (*defaultIngressClass) Name() string { return "DefaultIngressClass" }

func (p *defaultIngressClass) Mutate(_ context.Context, a *admission.Attributes) error {
	ing, ok := a.Object.(*networkingv1.Ingress)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || ing.Spec.IngressClassName != nil {
		return nil
	}
	if _, ok := ing.Annotations["kubernetes.io/ingress.class"]; ok {
		return nil
	}
	c, ok := newest(p.classes.List(), func(c *networkingv1.IngressClass) bool {
		return c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
	})
	if ok {
		ing.Spec.IngressClassName = &c.Name
	}
	return nil
}

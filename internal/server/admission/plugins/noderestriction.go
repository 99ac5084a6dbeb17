package plugins

import (
	"context"
	"fmt"
	"slices"

	authnv1 "k8s.io/api/authentication/v1"
	certv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/authz"
)

// nodeRestriction holds kubelets to their own node and the pods on it.
type nodeRestriction struct {
	api       client.Interface
	audiences []string
}

func (*nodeRestriction) Name() string { return "NodeRestriction" }

func (p *nodeRestriction) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.User == nil {
		return nil
	}
	node, ok := authz.NodeName(a.User)
	if !ok {
		return nil
	}
	switch a.GVR.Group + "/" + a.GVR.Resource + "/" + a.Subresource {
	case "/pods/":
		return p.pod(ctx, a, node)
	case "/pods/status":
		return podStatus(a, node)
	case "/pods/eviction":
		return p.eviction(ctx, a, node)
	case "/nodes/", "/nodes/status":
		return nodeObject(a, node)
	case "/serviceaccounts/token":
		return p.token(ctx, a, node)
	case "coordination.k8s.io/leases/":
		return p.lease(a, node)
	case "storage.k8s.io/csinodes/":
		return p.csiNode(a, node)
	case "resource.k8s.io/resourceslices/":
		return p.slice(a, node)
	case "certificates.k8s.io/podcertificaterequests/":
		return p.podCertificate(ctx, a, node)
	}
	return nil
}

func (p *nodeRestriction) pod(ctx context.Context, a *admission.Attributes, node string) error {
	switch a.Operation {
	case admission.Create:
		pod, ok := a.Object.(*corev1.Pod)
		if !ok {
			return nil
		}
		return p.createPod(ctx, a, pod, node)
	case admission.Delete:
		pod, ok := a.OldObject.(*corev1.Pod)
		if ok && pod.Spec.NodeName != node {
			return admission.Forbidden(a, fmt.Sprintf("node %q can only delete pods with spec.nodeName set to itself", node))
		}
		return nil
	}
	return admission.Forbidden(a, fmt.Sprintf("unexpected operation %q, node %q can only create and delete mirror pods", a.Operation, node))
}

// createPod allows mirror pods alone, and none that names objects the node could read only through them.
func (p *nodeRestriction) createPod(ctx context.Context, a *admission.Attributes, pod *corev1.Pod, node string) error {
	no := func(format string, args ...any) error { return admission.Forbidden(a, fmt.Sprintf(format, args...)) }
	if !isMirror(pod) {
		return no("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	}
	if pod.Spec.NodeName != node {
		return no("node %q can only create pods with spec.nodeName set to itself", node)
	}
	if len(pod.OwnerReferences) != 1 {
		return no("node %q can only create pods with an owner reference set to itself", node)
	}
	if err := p.ownedByNode(ctx, a, pod, node); err != nil {
		return err
	}
	switch {
	case pod.Spec.ServiceAccountName != "":
		return no("node %q can not create pods that reference a service account", node)
	case len(secretsOf(pod)) > 0:
		return no("node %q can not create pods that reference secrets", node)
	case len(configMapsOf(pod)) > 0:
		return no("node %q can not create pods that reference configmaps", node)
	case len(pod.Spec.ResourceClaims) > 0 || len(pod.Status.ResourceClaimStatuses) > 0:
		return no("node %q can not create pods that reference resourceclaims", node)
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			return no("node %q can not create pods that reference persistentvolumeclaims", node)
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			s := &v.Projected.Sources[j]
			if s.ServiceAccountToken != nil || s.ClusterTrustBundle != nil || s.PodCertificate != nil {
				return no("node %q can not create pods that reference service account tokens, trust bundles or certificates", node)
			}
		}
	}
	return nil
}

func (p *nodeRestriction) ownedByNode(ctx context.Context, a *admission.Attributes, pod *corev1.Pod, node string) error {
	no := func(format string, args ...any) error { return admission.Forbidden(a, fmt.Sprintf(format, args...)) }
	owner := pod.OwnerReferences[0]
	if owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node {
		return no("node %q can only create pods with an owner reference set to itself", node)
	}
	if owner.Controller == nil || !*owner.Controller {
		return no("node %q can only create pods with a controller owner reference set to itself", node)
	}
	if owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion {
		return no("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	n, err := find(ctx, p.api, client.Nodes, "", node)
	if apierrors.IsNotFound(err) {
		return no("node %q not found", node)
	}
	if err != nil {
		return err
	}
	if owner.UID != n.UID {
		return no("node %s UID mismatch: expected %s got %s", node, owner.UID, n.UID)
	}
	return nil
}

func podStatus(a *admission.Attributes, node string) error {
	old, ok := a.OldObject.(*corev1.Pod)
	now, ok2 := a.Object.(*corev1.Pod)
	if !ok || !ok2 {
		return nil
	}
	if old.Spec.NodeName != node {
		return admission.Forbidden(a, fmt.Sprintf("node %q can only update pod status for pods with spec.nodeName set to itself", node))
	}
	if !equality.Semantic.DeepEqual(old.Labels, now.Labels) {
		return admission.Forbidden(a, fmt.Sprintf("node %q cannot update labels through pod status", node))
	}
	if !equality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, now.Status.ResourceClaimStatuses) {
		return admission.Forbidden(a, fmt.Sprintf("node %q cannot update resource claim statuses", node))
	}
	return nil
}

func (p *nodeRestriction) eviction(ctx context.Context, a *admission.Attributes, node string) error {
	name := a.Name
	if e, ok := a.Object.(*policyv1.Eviction); ok && name == "" {
		name = e.Name
	}
	pod, err := find(ctx, p.api, client.Pods, a.Namespace, name)
	if err != nil {
		return err
	}
	if pod.Spec.NodeName != node {
		return admission.Forbidden(a, fmt.Sprintf("node %s can only evict pods with spec.nodeName set to itself", node))
	}
	return nil
}

// token allows tokens for pods of the node, for audiences that these pods ask for.
func (p *nodeRestriction) token(ctx context.Context, a *admission.Attributes, node string) error {
	tr, ok := a.Object.(*authnv1.TokenRequest)
	if !ok {
		return nil
	}
	no := func(text string) error { return admission.Forbidden(a, text) }
	ref := tr.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return no("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return no("node requested token with a pod binding without a uid")
	}
	pod, err := find(ctx, p.api, client.Pods, a.Namespace, ref.Name)
	if err != nil {
		return err
	}
	if pod.UID != ref.UID {
		return no(fmt.Sprintf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	if pod.Spec.NodeName != node {
		return no("node requested token bound to a pod scheduled on a different node")
	}
	for _, aud := range tr.Spec.Audiences {
		ok, err := p.audience(ctx, pod, aud)
		if err != nil {
			return err
		}
		if !ok {
			return no(fmt.Sprintf("audience %q not found in pod spec volume, %s is not authorized to request tokens for this audience", aud, node))
		}
	}
	return nil
}

// audience says whether the pod's volumes, or the drivers of its CSI volumes, ask for tokens of an audience.
func (p *nodeRestriction) audience(ctx context.Context, pod *corev1.Pod, aud string) (bool, error) {
	if aud == "" || slices.Contains(p.audiences, aud) {
		return true, nil
	}
	var drivers []string
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.Projected != nil:
			for j := range v.Projected.Sources {
				if t := v.Projected.Sources[j].ServiceAccountToken; t != nil && t.Audience == aud {
					return true, nil
				}
			}
		case v.CSI != nil:
			drivers = append(drivers, v.CSI.Driver)
		case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
			name := pod.Name + "-" + v.Name
			if v.PersistentVolumeClaim != nil {
				name = v.PersistentVolumeClaim.ClaimName
			}
			d, err := p.driver(ctx, pod.Namespace, name)
			if err != nil {
				return false, err
			}
			drivers = append(drivers, d)
		}
	}
	for _, d := range drivers {
		if d == "" {
			continue
		}
		o, err := find(ctx, p.api, csiDrivers, "", d)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(o.Spec.TokenRequests, func(t storagev1.TokenRequest) bool { return t.Audience == aud }) {
			return true, nil
		}
	}
	return false, nil
}

// driver is the CSI driver of a claim's volume; empty when it has none.
func (p *nodeRestriction) driver(ctx context.Context, namespace, claim string) (string, error) {
	pvcs := client.Resource[*corev1.PersistentVolumeClaim]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")}
	pvs := client.Resource[*corev1.PersistentVolume]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumes")}
	pvc, err := find(ctx, p.api, pvcs, namespace, claim)
	if err != nil || pvc.Spec.VolumeName == "" {
		return "", ignoreMissing(err)
	}
	pv, err := find(ctx, p.api, pvs, "", pvc.Spec.VolumeName)
	if err != nil || pv.Spec.CSI == nil {
		return "", ignoreMissing(err)
	}
	return pv.Spec.CSI.Driver, nil
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (p *nodeRestriction) lease(a *admission.Attributes, node string) error {
	if l, ok := a.Object.(*coordv1.Lease); ok && (l.Namespace != corev1.NamespaceNodeLease && a.Namespace != corev1.NamespaceNodeLease || l.Name != node) {
		return admission.Forbidden(a, "can only access node lease with the same name as the requesting node")
	}
	return nil
}

func (p *nodeRestriction) csiNode(a *admission.Attributes, node string) error {
	if n, ok := a.Object.(*storagev1.CSINode); ok && n.Name != node {
		return admission.Forbidden(a, "can only access CSINode with the same name as the requesting node")
	}
	return nil
}

func (p *nodeRestriction) slice(a *admission.Attributes, node string) error {
	for _, o := range []any{a.Object, a.OldObject} {
		if s, ok := o.(*resourcev1.ResourceSlice); ok && s != nil && (s.Spec.NodeName == nil || *s.Spec.NodeName != node) {
			return admission.Forbidden(a, "can only create, update or delete ResourceSlices with the same NodeName as the requesting node")
		}
	}
	return nil
}

func (p *nodeRestriction) podCertificate(ctx context.Context, a *admission.Attributes, node string) error {
	r, ok := a.Object.(*certv1.PodCertificateRequest)
	if !ok || a.Operation != admission.Create {
		return nil
	}
	no := func(format string, args ...any) error { return admission.Forbidden(a, fmt.Sprintf(format, args...)) }
	if string(r.Spec.NodeName) != node {
		return no("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", r.Spec.NodeName, node)
	}
	pod, err := find(ctx, p.api, client.Pods, a.Namespace, r.Spec.PodName)
	if err != nil {
		return err
	}
	switch {
	case pod.UID != r.Spec.PodUID:
		return no("PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", a.Namespace+"/"+pod.Name, r.Spec.PodUID, pod.UID)
	case isMirror(pod):
		return no("pod %q is a mirror pod", a.Namespace+"/"+pod.Name)
	case pod.Spec.NodeName != node:
		return no("pod %q is not running on node %q", a.Namespace+"/"+pod.Name, node)
	case pod.Spec.ServiceAccountName != r.Spec.ServiceAccountName:
		return no("PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", a.Namespace+"/"+pod.Name, r.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	sa, err := find(ctx, p.api, client.ServiceAccounts, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if sa.UID != r.Spec.ServiceAccountUID {
		return no("PodCertificateRequest for pod %q contains serviceAccountUID (%q) that differs from the running pod's (%q)", a.Namespace+"/"+pod.Name, r.Spec.ServiceAccountUID, sa.UID)
	}
	n, err := find(ctx, p.api, client.Nodes, "", node)
	if err != nil {
		return err
	}
	if n.UID != r.Spec.NodeUID {
		return no("PodCertificateRequest contains nodeUID (%q) that differs from that of the node (%q)", r.Spec.NodeUID, n.UID)
	}
	return nil
}

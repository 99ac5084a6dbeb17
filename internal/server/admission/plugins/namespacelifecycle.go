package plugins

import (
	"context"
	"fmt"

	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
)

// namespaceLifecycle refuses objects in namespaces that do not exist or are being deleted, and the deletion of
// the namespaces of the system.
type namespaceLifecycle struct{ api client.Interface }

func (*namespaceLifecycle) Name() string { return "NamespaceLifecycle" }

func (p *namespaceLifecycle) Mutate(ctx context.Context, a *admission.Attributes) error {
	if a.Is("", "namespaces", "") && a.Operation == admission.Delete {
		switch a.Name {
		case metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic:
			return apierrors.NewForbidden(a.GroupResource(), a.Name, fmt.Errorf("this namespace may not be deleted"))
		}
	}
	if a.Namespace == "" || a.GVR.Group == "" && a.GVR.Resource == "namespaces" || a.Row != nil && a.Row.Scope == object.Cluster {
		return nil
	}
	// Deletion must always go on, and reviews are not stored.
	if a.Operation == admission.Delete || a.Operation == admission.Connect || a.Is(authzv1.GroupName, "localsubjectaccessreviews", "") {
		return nil
	}
	ns, err := find(ctx, p.api, client.Namespaces, "", a.Namespace)
	if err != nil {
		return err // a 404 of the namespace is the right answer
	}
	if a.Operation != admission.Create || ns.Status.Phase != corev1.NamespaceTerminating && ns.DeletionTimestamp == nil {
		return nil
	}
	text := fmt.Sprintf("unable to create new content in namespace %s because it is being terminated", a.Namespace)
	refusal := admission.Forbidden(a, text)
	if s, ok := refusal.(*apierrors.StatusError); ok {
		s.ErrStatus.Details.Causes = append(s.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: corev1.NamespaceTerminatingCause, Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace), Field: "metadata.namespace"})
	}
	return refusal
}

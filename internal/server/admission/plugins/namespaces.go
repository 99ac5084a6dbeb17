package plugins

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
)

// inNamespace says whether a request is for something within a namespace.
func inNamespace(a *admission.Attributes) bool {
	return a.Namespace != "" && !(a.GVR.Group == "" && a.GVR.Resource == "namespaces") && (a.Row == nil || a.Row.Scope != object.Cluster)
}

// namespaceProvision makes the namespaces that objects are created in.
type namespaceProvision struct{ api client.Interface }

func (*namespaceProvision) Name() string { return "NamespaceAutoProvision" }

func (p *namespaceProvision) Mutate(ctx context.Context, a *admission.Attributes) error {
	// What a dry run would need is not made for it.
	if a.Operation != admission.Create || a.DryRun || !inNamespace(a) {
		return nil
	}
	_, err := find(ctx, p.api, client.Namespaces, "", a.Namespace)
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = client.Namespaces.Create(ctx, p.api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Namespace}})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// namespaceExists refuses whatever is asked for in a namespace that is not there.
type namespaceExists struct{ api client.Interface }

func (*namespaceExists) Name() string { return "NamespaceExists" }

func (p *namespaceExists) Validate(ctx context.Context, a *admission.Attributes) error {
	if !inNamespace(a) {
		return nil
	}
	_, err := find(ctx, p.api, client.Namespaces, "", a.Namespace)
	return err
}

package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"

	"hyperkube/internal/server/webhook"
)

// conversionTimeout is how long a webhook may take for one object.
const conversionTimeout = 30 * time.Second

// webhook gives the conversion by the webhook of a definition.
func (d *Definitions) webhook(c *apiextensionsv1.CustomResourceDefinition) Convert {
	to := target(c.Spec.Conversion.Webhook)
	return func(u *unstructured.Unstructured, gv schema.GroupVersion) (*unstructured.Unstructured, error) {
		if d.cfg.Webhooks == nil {
			return nil, errors.New("conversion webhooks are not called here")
		}
		out, err := d.ask(to, u, gv)
		if err != nil {
			return nil, fmt.Errorf("conversion webhook for %s failed: %w", u.GroupVersionKind(), err)
		}
		return out, nil
	}
}

func target(w *apiextensionsv1.WebhookConversion) webhook.Target {
	if w == nil || w.ClientConfig == nil {
		return webhook.Target{}
	}
	t := webhook.Target{CABundle: w.ClientConfig.CABundle, Port: 443}
	if w.ClientConfig.URL != nil {
		t.URL = *w.ClientConfig.URL
	}
	if s := w.ClientConfig.Service; s != nil {
		t.Namespace, t.Name = s.Namespace, s.Name
		if s.Port != nil {
			t.Port = *s.Port
		}
		if s.Path != nil {
			t.Path = *s.Path
		}
	}
	return t
}

// ask has one object converted.
func (d *Definitions) ask(t webhook.Target, u *unstructured.Unstructured, gv schema.GroupVersion) (*unstructured.Unstructured, error) {
	id := uuid.NewUUID()
	body, err := json.Marshal(&apiextensionsv1.ConversionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "ConversionReview"},
		Request: &apiextensionsv1.ConversionRequest{UID: id, DesiredAPIVersion: gv.String(),
			Objects: []runtime.RawExtension{{Object: u}}},
	})
	if err != nil {
		return nil, err
	}
	data, err := d.cfg.Webhooks.Post(context.Background(), t, conversionTimeout, body)
	if err != nil {
		return nil, err
	}
	var review apiextensionsv1.ConversionReview
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, fmt.Errorf("its answer is no ConversionReview: %w", err)
	}
	r := review.Response
	switch {
	case r == nil:
		return nil, errors.New("its answer has no response")
	case r.UID != id:
		return nil, fmt.Errorf("its answer is for the request %q, not %q", r.UID, id)
	case r.Result.Status != metav1.StatusSuccess:
		if r.Result.Message == "" {
			return nil, errors.New("it refused without a message")
		}
		return nil, errors.New(r.Result.Message)
	case len(r.ConvertedObjects) != 1:
		return nil, fmt.Errorf("webhook returned %d objects, expected 1", len(r.ConvertedObjects))
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(r.ConvertedObjects[0].Raw); err != nil {
		return nil, fmt.Errorf("the converted object cannot be read: %w", err)
	}
	return out, restore(out, u, gv)
}

// restore makes sure that the webhook changed nothing of the metadata but labels and annotations, and that the object is of
// the version asked for.
func restore(out, in *unstructured.Unstructured, gv schema.GroupVersion) error {
	switch {
	case out.GetAPIVersion() != gv.String():
		return fmt.Errorf("the converted object has apiVersion %q, expected %q", out.GetAPIVersion(), gv)
	case out.GetKind() != in.GetKind():
		return fmt.Errorf("the converted object is of kind %q, expected %q", out.GetKind(), in.GetKind())
	case out.GetName() != in.GetName() || out.GetNamespace() != in.GetNamespace() || out.GetUID() != in.GetUID():
		return errors.New("name, namespace or uid of the converted object were changed")
	}
	labels, annotations := out.GetLabels(), out.GetAnnotations()
	meta, ok := in.Object["metadata"].(map[string]any)
	if !ok {
		return nil
	}
	out.Object["metadata"] = runtime.DeepCopyJSON(meta)
	if !apiequality.Semantic.DeepEqual(labels, in.GetLabels()) {
		out.SetLabels(labels)
	}
	if !apiequality.Semantic.DeepEqual(annotations, in.GetAnnotations()) {
		out.SetAnnotations(annotations)
	}
	return nil
}

package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"

	"hyperkube/internal/server/webhook"
)

// What one review may hold: so many objects, and so many bytes of them unless a single one is larger. Answers, which may be larger than
// their questions, stay within what the caller of webhooks reads.
const (
	reviewObjects = 500
	reviewBytes   = 2 << 20
)

// conversionTimeout is how long a webhook may take for one review.
const conversionTimeout = 30 * time.Second

// hook is the conversion webhook of a definition.
type hook struct {
	caller  *webhook.Caller
	target  webhook.Target
	version string // of the reviews; empty when the webhook takes none that is known here
	name    string // of the definition
	metrics *metrics
}

// webhook gives the conversion by the webhook of a definition.
func (d *Definitions) webhook(c *apiextensionsv1.CustomResourceDefinition) Convert {
	h := &hook{caller: d.cfg.Webhooks, name: c.Name, metrics: d.metrics}
	if w := c.Spec.Conversion.Webhook; w != nil {
		h.target, h.version = target(w), reviewVersion(w.ConversionReviewVersions)
	}
	return h.convert
}

func target(w *apiextensionsv1.WebhookConversion) webhook.Target {
	if w.ClientConfig == nil {
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

// convert has objects converted in as few reviews as their size allows.
func (h *hook) convert(us []*unstructured.Unstructured, to schema.GroupVersion) (out []*unstructured.Unstructured, err error) {
	from := us[0].GroupVersionKind()
	start := time.Now()
	defer func() { h.metrics.converted(h.name, from.Version, to.Version, start, err) }()
	out = make([]*unstructured.Unstructured, 0, len(us))
	var raw []runtime.RawExtension
	size := 0
	flush := func() error {
		made, err := h.review(us[len(out):len(out)+len(raw)], raw, to)
		if err != nil {
			return fmt.Errorf("conversion webhook for %s %w", from, err)
		}
		out, raw, size = append(out, made...), nil, 0
		return nil
	}
	for _, u := range us {
		data, err := u.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if len(raw) > 0 && (len(raw) == reviewObjects || size+len(data) > reviewBytes) {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		raw, size = append(raw, runtime.RawExtension{Raw: data}), size+len(data)
	}
	return out, flush()
}

// review asks once. Errors go on where "conversion webhook for x" ends.
func (h *hook) review(us []*unstructured.Unstructured, raw []runtime.RawExtension, to schema.GroupVersion) (out []*unstructured.Unstructured, err error) {
	start := time.Now()
	defer func() { h.metrics.reviewed(start, err) }()
	if h.caller == nil {
		return nil, fail(callFailure, "failed: conversion webhooks are not called here")
	}
	if h.version == "" {
		return nil, fail(callFailure, "failed: it takes no version of ConversionReview that is known here")
	}
	ask := &apiextensionsv1.ConversionReview{Request: &apiextensionsv1.ConversionRequest{UID: uuid.NewUUID(), DesiredAPIVersion: to.String(), Objects: raw}}
	ask.SetGroupVersionKind(reviewKind(h.version))
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, fail(callFailure, "failed: %w", err)
	}
	data, err := h.caller.Post(context.Background(), h.target, conversionTimeout, body)
	if err != nil {
		return nil, fail(callFailure, "failed: %w", err)
	}
	objs, err := answer(data, h.version, ask.Request.UID)
	if err != nil {
		return nil, err
	}
	if len(objs) != len(us) {
		return nil, fail(partialFailure, "returned %d objects, expected %d", len(objs), len(us))
	}
	for i, u := range us {
		made, err := accepted(objs[i].Raw, u, i, to)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// failure is an error and the word for it in the metrics.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(kind, format string, args ...any) error {
	return &failure{kind, fmt.Errorf(format, args...)}
}

// failureKind is the word for an error in the metrics; empty for none.
func failureKind(err error) string {
	var f *failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.kind
	}
	return callFailure
}

package server

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/patch"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// apply is server-side apply: it merges what one manager wants into an object, or makes the object.
func (s *Server) apply(ctx context.Context, req *request.Request, t registry.Target, data []byte, o *metav1.PatchOptions) (outcome, error) {
	body, err := applyBody(req, data, o.FieldValidation)
	if err != nil {
		return outcome{}, err
	}
	if h := s.handler(t, req.Subresource); h != nil {
		if h.Apply != nil {
			obj, err := h.Apply(ctx, req, body, *o)
			return s.handled(t, obj, err)
		}
		return s.applyByHandler(ctx, req, t, h, data, o)
	}
	if !plainStorage(t) {
		return outcome{}, errNoHandler(t, req)
	}
	if got := body.GroupVersionKind(); got != t.GVK() {
		return outcome{}, apierrors.NewBadRequest(fmt.Sprintf("Incorrect version specified in apply patch. Specified patch version: %s, expected: %s", got, t.GVK()))
	}
	force := o.Force != nil && *o.Force
	change := func(cur *store.Entry) (object.Object, error) {
		want := body.DeepCopy()
		var live object.Object
		if cur != nil {
			live = cur.Object()
		} else {
			if uid := want.GetUID(); uid != "" {
				return nil, apierrors.NewConflict(t.Kind.GroupResource(), req.Name,
					fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
			}
			if want.GetName() == "" {
				want.SetName(req.Name)
			}
		}
		return s.registry.Managers().Apply(t.Kind, t.Version, req.Subresource, live, want, o.FieldManager, force)
	}
	uo := registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: o, Applied: true}
	if t.Sub == nil && t.Kind.Serves("create") {
		uo.CreateOptions = &metav1.CreateOptions{TypeMeta: metav1.TypeMeta{Kind: "CreateOptions", APIVersion: "meta.k8s.io/v1"},
			DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
		uo.Authorize = func() error {
			return s.authorizeAs(ctx, verbAs{request.Attributes{Request: req}, "create"}, req)
		}
	}
	res, err := s.registry.Update(ctx, req, t, object.Key{Namespace: req.Namespace, Name: req.Name}, change, uo)
	return outcome{Result: res}, err
}

// applyBody reads the body. Duplicate keys are what the fieldValidation of the request says; unknown fields are found when
// the body is held against the schema, and always an error.
func applyBody(req *request.Request, data []byte, validation string) (*unstructured.Unstructured, error) {
	u, err := codec.DecodeUnstructured(data, codec.YAML, nil, validation != metav1.FieldValidationIgnore)
	strict, isStrict := runtime.AsStrictDecodingError(err)
	switch {
	case err == nil:
	case isStrict && validation == metav1.FieldValidationStrict:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding patch: error converting YAML to JSON: %v", errors.Join(strict.Errors()...)))
	case isStrict:
		decode.Warn(strict.Errors(), req.Warn)
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	return u, nil
}

// applyByHandler merges into objects that a handler makes up, which have no managers.
func (s *Server) applyByHandler(ctx context.Context, req *request.Request, t registry.Target, h *SubresourceHandler, data []byte, o *metav1.PatchOptions) (outcome, error) {
	body, err := yaml.YAMLToJSON(data)
	if err != nil {
		return outcome{}, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	p, err := patch.Parse(types.MergePatchType, body, false)
	if err != nil {
		return outcome{}, err
	}
	return s.patchByHandler(ctx, req, t, h, p, o)
}

package server

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
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

// applyBody reads the body, whatever kind it names. Duplicate keys are what the fieldValidation of the request says; unknown fields are found when
// the body is held against the schema, and always an error.
func applyBody(req *request.Request, data []byte, validation string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	doc, plain := data, json.Valid(data)
	if !plain {
		var err error
		if doc, err = jsonOf(data); err != nil {
			return nil, err
		}
	}
	duplicates, err := kjson.UnmarshalStrict(doc, &u.Object)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: error unmarshaling JSON: while decoding JSON: %v", err))
	}
	if u.Object == nil {
		u.Object = map[string]any{}
	}
	if validation == metav1.FieldValidationIgnore || plain && len(duplicates) == 0 {
		return u, nil
	}
	if _, err := yaml.YAMLToJSONStrict(data); err != nil { // which counts lines
		if validation == metav1.FieldValidationStrict {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding patch: error converting YAML to JSON: %v", err))
		}
		decode.Warn([]error{err}, req.Warn)
	}
	return u, nil
}

// jsonOf converts YAML. Clients know two texts of what goes wrong: one for bodies that begin as JSON does.
func jsonOf(data []byte) ([]byte, error) {
	doc, err := utilyaml.ToJSON(data)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error encoding patch: %v", err))
	}
	if doc, err = yaml.YAMLToJSON(doc); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: error converting YAML to JSON: %v", err))
	}
	return doc, nil
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

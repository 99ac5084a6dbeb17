package server

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/patch"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// patchRetries bounds how often a patch of a handler's object is made again after a conflict.
const patchRetries = 5

// patch changes an object by a patch in the version asked for.
func (s *Server) patch(ctx context.Context, req *request.Request, t registry.Target, kind types.PatchType, data []byte, o *metav1.PatchOptions) (outcome, error) {
	custom := t.Version.Untyped()
	switch kind {
	case types.JSONPatchType, types.MergePatchType:
	case types.StrategicMergePatchType:
		if custom {
			return outcome{}, errMedia(patchTypes(custom)...)
		}
	case types.ApplyYAMLPatchType:
		return s.apply(ctx, req, t, data, o)
	default:
		return outcome{}, errMedia(patchTypes(custom)...)
	}
	p, err := patch.Parse(kind, data, decode.Strict(o.FieldValidation))
	if err != nil {
		return outcome{}, err
	}
	if h := s.handler(t, req.Subresource); h != nil {
		return s.patchByHandler(ctx, req, t, h, p, o)
	}
	if !plainStorage(t) {
		return outcome{}, errNoHandler(t, req)
	}
	want := decode.ExpectVersion(t.Version)
	change := func(cur *store.Entry) (object.Object, error) {
		if t.Version.FromHub == nil && !custom {
			if obj, ok := p.ApplyTo(cur.Object()); ok {
				return obj, nil
			}
		}
		doc, err := cur.JSON(t.Version)
		if err != nil {
			return nil, err
		}
		obj, err := patched(p, doc, want, req, o)
		if err != nil {
			return nil, err
		}
		return toHub(t.Version, obj)
	}
	uo := registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: o, Manager: o.FieldManager}
	res, err := s.registry.Update(ctx, req, t, object.Key{Namespace: req.Namespace, Name: req.Name}, change, uo)
	return outcome{Result: res}, err
}

func patched(p *patch.Patch, doc []byte, want decode.Expect, req *request.Request, o *metav1.PatchOptions) (object.Object, error) {
	strict := decode.Strict(o.FieldValidation)
	var out []byte
	var obj object.Object
	var problems []error
	var err error
	if p.Strategic() {
		obj, problems, err = patchedInto(p, doc, want, strict)
	} else if out, err = p.Apply(doc, nil); err == nil {
		if obj, problems, err = decode.Patched(out, want, req.Name, strict); err != nil {
			err = p.Refuse(out, err)
		}
	}
	if err != nil {
		return nil, err
	}
	problems = append(slices.Clone(p.Problems), problems...)
	if o.FieldValidation == metav1.FieldValidationStrict && len(problems) > 0 {
		return nil, p.Refuse(out, runtime.NewStrictDecodingError(problems))
	}
	decode.Warn(problems, req.Warn)
	return obj, nil
}

// patchedInto applies a strategic merge patch. What the patch says of the kind counts for nothing: the object is of the one wanted.
func patchedInto(p *patch.Patch, doc []byte, want decode.Expect, strict bool) (object.Object, []error, error) {
	obj, ok := want.New().(object.Object)
	if !ok {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("a %s cannot be patched", want.Kind))
	}
	problems, err := p.Into(doc, obj, strict)
	if err != nil {
		return nil, nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(want.GroupVersionKind)
	return obj, problems, nil
}

// patchByHandler reads, patches and updates, again when another writer came between and the patch itself names no version.
func (s *Server) patchByHandler(ctx context.Context, req *request.Request, t registry.Target, h *SubresourceHandler, p *patch.Patch, o *metav1.PatchOptions) (outcome, error) {
	if h.Get == nil || h.Update == nil {
		return outcome{}, errMethod(t.Kind, req.Verb)
	}
	want := s.expect(req, t)
	uo := metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
	for attempt := 1; ; attempt++ {
		base := h.Get
		if h.Base != nil {
			base = h.Base
		}
		cur, err := base(ctx, req, metav1.GetOptions{})
		if err != nil {
			return outcome{}, err
		}
		doc, err := codec.EncodeJSON(cur, want.GroupVersionKind)
		if err != nil {
			return outcome{}, err
		}
		obj, err := patched(p, doc, want, req, o)
		if err != nil {
			return outcome{}, err
		}
		same := obj.GetResourceVersion() == cur.GetResourceVersion()
		out, err := h.Update(ctx, req, obj, uo)
		if apierrors.IsConflict(err) && same && attempt < patchRetries {
			continue
		}
		return s.handled(t, out, err)
	}
}

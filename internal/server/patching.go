package server

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/negotiate"
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
			return outcome{}, errPatchType(custom)
		}
	case types.ApplyYAMLPatchType:
		return s.apply(ctx, req, t, data, o)
	default:
		return outcome{}, errPatchType(custom)
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
	out, err := p.Apply(doc, want.New())
	if err != nil {
		return nil, err
	}
	strict := decode.Strict(o.FieldValidation)
	obj, problems, _, err := decode.Object(out, negotiate.JSON, want, strict)
	if err != nil {
		return nil, p.Refuse(out, err)
	}
	problems = append(slices.Clone(p.Problems), problems...)
	if o.FieldValidation == metav1.FieldValidationStrict && len(problems) > 0 {
		return nil, p.Refuse(out, runtime.NewStrictDecodingError(problems))
	}
	decode.Warn(problems, req.Warn)
	return obj, nil
}

// patchByHandler reads, patches and updates, again when another writer came between and the patch itself names no version.
func (s *Server) patchByHandler(ctx context.Context, req *request.Request, t registry.Target, h *SubresourceHandler, p *patch.Patch, o *metav1.PatchOptions) (outcome, error) {
	if h.Get == nil || h.Update == nil {
		return outcome{}, errMethod(t.Kind, req.Verb)
	}
	want := s.expect(req, t)
	uo := metav1.UpdateOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
	for attempt := 1; ; attempt++ {
		cur, err := h.Get(ctx, req, metav1.GetOptions{})
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

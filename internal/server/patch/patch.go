// Package patch applies JSON patches (RFC 6902), JSON merge patches (RFC 7386) and strategic merge patches to the JSON
// form of objects. It is pure. A [Patch] is parsed once and may be applied to several states of an object, as
// a write that meets other writers has to. Errors are the API errors that upstream gives for the same mistake.
package patch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"
)

// MaxOperations is the largest number of operations in one JSON patch.
const MaxOperations = 10000

// maxGrowth bounds what the copy operations of one JSON patch may add, in bytes.
const maxGrowth = 3 * 1024 * 1024

// Patch is a parsed patch.
type Patch struct {
	kind       types.PatchType
	operations jsonpatch.Patch
	merge      []byte
	strategic  map[string]any
}

// Parse reads a patch. data must be JSON; it is kept.
func Parse(kind types.PatchType, data []byte) (*Patch, error) {
	p := &Patch{kind: kind}
	switch kind {
	case types.JSONPatchType:
		ops, err := jsonpatch.DecodePatch(data)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if len(ops) > MaxOperations {
			return nil, apierrors.NewRequestEntityTooLargeError(
				fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", MaxOperations, len(ops)))
		}
		p.operations = ops
	case types.MergePatchType:
		if !json.Valid(data) {
			return nil, badJSON(data)
		}
		p.merge = data
	case types.StrategicMergePatchType:
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &p.strategic); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	default:
		return nil, fmt.Errorf("patches of type %q cannot be applied to JSON", kind)
	}
	return p, nil
}

// Apply makes the patched document out of the current one, which is not changed. like is an empty object of
// the document's Go type, where strategic merge patches find their merge keys.
func (p *Patch) Apply(current []byte, like any) ([]byte, error) {
	switch p.kind {
	case types.JSONPatchType:
		return p.applyOperations(current)
	case types.MergePatchType:
		out, err := jsonpatch.MergePatch(current, p.merge)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return out, nil
	}
	return p.applyStrategic(current, like)
}

func (p *Patch) applyOperations(current []byte) ([]byte, error) {
	o := jsonpatch.NewApplyOptions()
	o.AccumulatedCopySizeLimit = maxGrowth
	// Clients may rely on indices counted from the end, which RFC 6902 does not have.
	o.SupportNegativeIndices = true
	out, err := p.operations.ApplyWithOptions(current, o)
	if err != nil {
		return nil, unprocessable(err)
	}
	return out, nil
}

func (p *Patch) applyStrategic(current []byte, like any) ([]byte, error) {
	var doc map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(current, &doc); err != nil {
		return nil, fmt.Errorf("read the object to patch: %w", err)
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(like)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	out, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(doc, strategicCopy(p.strategic), meta)
	if err != nil {
		return nil, strategicError(err)
	}
	return json.Marshal(out)
}

// strategicCopy guards the parsed patch: applying one eats its directives, and it may have to be applied again.
func strategicCopy(v map[string]any) map[string]any {
	out := make(map[string]any, len(v))
	for k, e := range v {
		out[k] = copyValue(e)
	}
	return out
}

func copyValue(v any) any {
	switch t := v.(type) {
	case map[string]any:
		return strategicCopy(t)
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = copyValue(t[i])
		}
		return out
	}
	return v
}

func strategicError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat), errors.Is(err, resource.ErrFormatWrong):
		return apierrors.NewBadRequest(err.Error())
	}
	return unprocessable(err)
}

func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

func badJSON(data []byte) error {
	var v any
	err := json.Unmarshal(data, &v)
	if err == nil {
		err = errors.New("invalid JSON")
	}
	return apierrors.NewBadRequest(err.Error())
}

// Package patch applies JSON patches (RFC 6902), JSON merge patches (RFC 7386) and strategic merge patches to the JSON
// form of objects. It is pure. A [Patch] is parsed once and may be applied to several states of an object, as
// a write that meets other writers has to. Errors are the API errors that upstream gives for the same mistake.
package patch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"hyperkube/internal/object/codec"
)

// MaxOperations is the largest number of operations in one JSON patch.
const MaxOperations = 10000

// maxGrowth bounds what the copy operations of one JSON patch may add, in bytes.
const maxGrowth = 3 * 1024 * 1024

// The library keeps its limits in variables. Its fourth version is the one whose leniency clients know: an operation without a value, a
// replacement of what is not there, indices counted from the end, which RFC 6902 does not have.
func init() { jsonpatch.AccumulatedCopySizeLimit = maxGrowth }

// Patch is a parsed patch.
type Patch struct {
	kind       types.PatchType
	operations jsonpatch.Patch
	data       []byte         // of a merge patch
	fields     map[string]any // of a merge patch, strategic or not
	// Problems are the duplicate and, in operations, unknown fields of the patch itself, where Parse was to look for them.
	Problems []error
}

// operation is what one operation of a JSON patch may say.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`
}

// Parse reads a patch. data must be JSON; it is kept. With strict it also looks for Problems.
func Parse(kind types.PatchType, data []byte, strict bool) (*Patch, error) {
	p := &Patch{kind: kind, data: data}
	if !json.Valid(data) {
		return nil, apierrors.NewBadRequest("invalid JSON patch")
	}
	switch kind {
	case types.JSONPatchType:
		ops, err := decodeOperations(data)
		if err != nil {
			return nil, err
		}
		if strict {
			problems, err := kjson.UnmarshalStrict(data, &[]operation{})
			if err != nil {
				return nil, badPatch(err)
			}
			for _, problem := range problems {
				p.Problems = append(p.Problems, fmt.Errorf("json patch %w", problem))
			}
		}
		if len(ops) > MaxOperations {
			return nil, apierrors.NewRequestEntityTooLargeError(
				fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", MaxOperations, len(ops)))
		}
		p.operations = ops
	case types.MergePatchType:
		return p, p.parseMap(data, strict)
	case types.StrategicMergePatchType:
		return p, p.parseMap(data, strict)
	default:
		return nil, fmt.Errorf("patches of type %q cannot be applied to JSON", kind)
	}
	return p, nil
}

// parseMap reads a patch that looks like a part of the object.
func (p *Patch) parseMap(data []byte, strict bool) error {
	var err error
	if strict {
		p.Problems, err = kjson.UnmarshalStrict(data, &p.fields)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, &p.fields)
	}
	switch {
	case err != nil && p.kind == types.StrategicMergePatchType:
		return apierrors.NewBadRequest(err.Error())
	case err != nil:
		return badPatch(err)
	case p.fields == nil && p.kind == types.MergePatchType:
		return apierrors.NewBadRequest("Invalid JSON Patch")
	}
	return nil
}

// decodeOperations reads a JSON patch. What is no list of operations is no patch; operations that are none make the whole
// unprocessable.
func decodeOperations(data []byte) (jsonpatch.Patch, error) {
	var shape []json.RawMessage
	if err := json.Unmarshal(data, &shape); err != nil {
		return nil, badPatch(errors.New(strings.Replace(err.Error(), "[]json.RawMessage", "[]handlers.jsonPatchOp", 1)))
	}
	ops, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, unprocessable(err)
	}
	return ops, nil
}

func badPatch(err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
}

// Refuse says that the patch makes no valid object, in upstream's words. doc is what the patch made of the document.
func (p *Patch) Refuse(doc []byte, err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	value := string(doc)
	if p.kind == types.StrategicMergePatchType {
		value = fmt.Sprintf("%+v", p.fields)
	}
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), value, err.Error())})
}

// Strategic says whether the patch is a strategic merge patch, which is applied [Patch.Into] an object.
func (p *Patch) Strategic() bool { return p.kind == types.StrategicMergePatchType }

// Apply makes the patched document out of the current one, which is not changed. like is an empty object of
// the document's Go type, where strategic merge patches find their merge keys.
func (p *Patch) Apply(current []byte, like any) ([]byte, error) {
	switch p.kind {
	case types.JSONPatchType:
		out, err := contained(func() ([]byte, error) { return p.operations.Apply(current) })
		if err != nil {
			return nil, unprocessable(err)
		}
		return out, nil
	case types.MergePatchType:
		out, err := contained(func() ([]byte, error) { return jsonpatch.MergePatch(current, p.data) })
		if err != nil {
			return nil, fmt.Errorf("merge the patch: %w", err)
		}
		return out, nil
	}
	out, err := p.applyStrategic(current, like)
	if err != nil {
		return nil, err
	}
	return codec.MarshalQuick(out)
}

// quick is Apply where nobody reads the document but a decoder.
func (p *Patch) quick(current []byte, like any) ([]byte, error) {
	if p.kind != types.MergePatchType {
		return p.Apply(current, like)
	}
	var doc map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(current, &doc); err != nil {
		return nil, fmt.Errorf("read the object to patch: %w", err)
	}
	return codec.MarshalQuick(merge(doc, p.fields))
}

// merge changes a document as RFC 7386 says: null takes a field away, an object is merged, all else takes the field's place.
func merge(doc, patch map[string]any) map[string]any {
	if doc == nil {
		doc = make(map[string]any, len(patch))
	}
	for name, v := range patch {
		inner, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(doc, name)
		case isMap:
			have, _ := doc[name].(map[string]any)
			doc[name] = merge(have, inner)
		default:
			doc[name] = v
		}
	}
	return doc
}

// Into applies a strategic merge patch and writes the outcome into an empty object, whatever kind the patch names. With strict it gives the fields that the
// object does not have.
func (p *Patch) Into(current []byte, into any, strict bool) ([]error, error) {
	out, err := p.applyStrategic(current, into)
	if err != nil {
		return nil, err
	}
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(out, into, strict)
	if problems, ok := runtime.AsStrictDecodingError(err); ok {
		return problems.Errors(), nil
	}
	if err != nil {
		return nil, p.Refuse(nil, err)
	}
	return nil, nil
}

// contained keeps the library's panics within: a replacement of the whole document without a value is one that it does not expect.
func contained(apply func() ([]byte, error)) (out []byte, err error) {
	defer func() {
		if recover() != nil {
			out, err = nil, errors.New("the patch cannot be applied to the object")
		}
	}()
	return apply()
}

func (p *Patch) applyStrategic(current []byte, like any) (map[string]any, error) {
	var doc map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(current, &doc); err != nil {
		return nil, fmt.Errorf("read the object to patch: %w", err)
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(like)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	out, err := strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(doc, strategicCopy(p.fields), meta)
	if err != nil {
		return nil, strategicError(err)
	}
	return out, nil
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

// strategicError tells patches that are malformed; of all else that does not fit the object clients see the text with a 500.
func strategicError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat), errors.Is(err, resource.ErrFormatWrong):
		return apierrors.NewBadRequest(err.Error())
	}
	return err
}

func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

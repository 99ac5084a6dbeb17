package server

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/registry"
)

// serve finds what the request is for and does it.
func (x *exchange) serve() {
	t, err := x.s.target(x.req)
	if err == errNoRow {
		if x.s.parts.Delegate == nil || !x.s.parts.Delegate(x.w, x.r, x.req) {
			x.s.notFound(x.w, x.r)
		}
		return
	}
	if err != nil {
		x.fail(err)
		return
	}
	x.t = t
	if t.Kind.Deprecated != "" {
		x.req.Warn(t.Kind.Deprecated)
		x.s.metrics.usage.deprecate(x.req)
	}
	if c := t.Version.Custom; c != nil && c.Warning != "" {
		x.req.Warn(c.Warning)
		x.s.metrics.usage.deprecate(x.req)
	}
	if h := x.s.handler(t, x.req.Subresource); h != nil && h.Connect != nil {
		h.Connect(x.w, x.r, x.req)
		return
	}
	if x.r.Method == http.MethodHead && t.Version.Custom == nil {
		x.fail(errMethod(t.Kind, "head"))
		return
	}
	x.q = query(x.r)
	x.verb()
}

func (x *exchange) verb() {
	switch x.req.Verb {
	case "get":
		x.get()
	case "list":
		x.list()
	case "watch":
		x.watch()
	case "create":
		x.create()
	case "update":
		x.update()
	case "patch":
		x.patch()
	case "delete":
		x.delete()
	case "deletecollection":
		x.deleteCollection()
	default:
		x.fail(errMethod(x.t.Kind, x.req.Verb))
	}
}

func query(r *http.Request) url.Values {
	if r.URL.RawQuery == "" {
		return nil
	}
	return r.URL.Query() // what it cannot read, it leaves out
}

func (x *exchange) fail(err error) { sendStatus(x.w, x.r, err) }

// offer is what the target can answer with.
func (x *exchange) offer() negotiate.Offer {
	o := negotiate.Offer{YAML: true, Protobuf: !x.t.Version.Untyped()}
	if !x.t.Kind.Virtual || x.t.Kind.Serves("list") {
		o.As = negotiate.TransformMeta
	}
	return o
}

// form negotiates the answer; false: the refusal was sent.
func (x *exchange) form(list bool) (negotiate.Form, bool) {
	if x.t.Version.Custom == nil && !negotiate.Routed(x.r.Header.Get("Accept"), negotiate.Routes...) {
		have := negotiate.Routes
		if list {
			have = negotiate.Watches
		}
		x.fail(errNotRouted(have...))
		return negotiate.Form{}, false
	}
	o := x.offer()
	if list && x.t.Kind.Virtual {
		o.Protobuf = false // made up item by item, as JSON
	}
	f, ok := negotiate.Accept(x.r.Header.Get("Accept"), o)
	if !ok {
		x.fail(errNotAcceptable(o))
		return f, false
	}
	if err := x.fits(f, list); err != nil {
		x.fail(err)
		return f, false
	}
	f.Pretty = f.Pretty || x.q != nil && (x.q.Get("pretty") == "1" || x.q.Get("pretty") == "true")
	return f, true
}

// fits refuses the metadata of one object where there are many, and the other way round.
func (x *exchange) fits(f negotiate.Form, list bool) error {
	switch {
	case list && f.As == "PartialObjectMetadata":
		return statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
			"you requested "+f.As+", but the requested object is a list ("+goType(x.t.Version, x.t.Version.ListKind())+")")
	case !list && f.As == "PartialObjectMetadataList":
		return statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
			"you requested "+f.As+", but the requested object is not a list ("+goType(x.t.Version, x.t.Version.Kind)+")")
	}
	return nil
}

// body reads the request's body up to the limit.
func (x *exchange) body() ([]byte, error) {
	if x.r.ContentLength > MaxBody {
		return nil, errTooLarge(MaxBody)
	}
	if n := x.r.ContentLength; n > 0 {
		data := make([]byte, n)
		if _, err := io.ReadFull(x.r.Body, data); err != nil {
			return nil, badBody(err)
		}
		x.s.metrics.usage.body(x.req, len(data))
		return data, nil
	}
	data, err := io.ReadAll(io.LimitReader(x.r.Body, MaxBody+1))
	if err != nil {
		return nil, badBody(err)
	}
	if len(data) > MaxBody {
		return nil, errTooLarge(MaxBody)
	}
	x.s.metrics.usage.body(x.req, len(data))
	return data, nil
}

func badBody(err error) error {
	return statusError(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the request's body could not be read: "+err.Error())
}

// media is the media type of the body; an error when no decoder knows it.
func (x *exchange) media() (string, error) {
	m := negotiate.ContentType(x.r.Header.Get("Content-Type"))
	o := x.offer()
	switch {
	case m == negotiate.JSON, m == negotiate.YAML, m == negotiate.Protobuf && o.Protobuf:
		return m, nil
	}
	return "", errMedia(o.Accepted()...)
}

// object reads the body as what the target takes.
func (x *exchange) object(validation string) (object.Object, error) {
	media, err := x.media()
	if err != nil {
		return nil, err
	}
	data, err := x.body()
	if err != nil {
		return nil, err
	}
	obj, err := decode.Body(data, media, x.s.expect(x.req, x.t), validation, x.req.Warn)
	if err == nil {
		x.auditBody(data, media, obj)
	}
	return obj, err
}

func (x *exchange) create() {
	f, ok := x.form(false)
	if !ok {
		return
	}
	o, err := decode.Create(x.q)
	if err != nil {
		x.fail(err)
		return
	}
	obj, err := x.object(o.FieldValidation)
	if err != nil {
		x.fail(err)
		return
	}
	out, err := x.s.create(x.r.Context(), x.req, x.t, obj, o)
	x.answer(http.StatusCreated, f, out, err)
}

func (x *exchange) update() {
	f, ok := x.form(false)
	if !ok {
		return
	}
	o, err := decode.Update(x.q)
	if err != nil {
		x.fail(err)
		return
	}
	obj, err := x.object(o.FieldValidation)
	if err != nil {
		x.fail(err)
		return
	}
	switch name := obj.GetName(); {
	case name == "":
		x.fail(apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", x.req.Name)))
		return
	case x.t.Sub == nil && name != x.req.Name:
		x.fail(registry.ErrName(name, x.req.Name))
		return
	}
	out, err := x.s.update(x.r.Context(), x.req, x.t, obj, o)
	code := http.StatusOK
	if out.Created {
		code = http.StatusCreated
	}
	x.answer(code, f, out, err)
}

func (x *exchange) patch() {
	kind, err := x.patchType()
	if err != nil {
		x.fail(err)
		return
	}
	f, ok := x.form(false)
	if !ok {
		return
	}
	if !slices.Contains(patchTypes(x.t.Version.Untyped()), string(kind)) {
		x.fail(errMedia(patchTypes(x.t.Version.Untyped())...))
		return
	}
	o, err := decode.Patch(x.q, kind)
	if err != nil {
		x.fail(err)
		return
	}
	data, err := x.body()
	if err != nil {
		x.fail(err)
		return
	}
	x.auditPatch(data, kind)
	out, err := x.s.patch(x.r.Context(), x.req, x.t, kind, data, o)
	code := http.StatusOK
	if out.Created {
		code = http.StatusCreated
	}
	x.answer(code, f, out, err)
}

// patchType reads the type of a patch, in which case counts. An error where the request would not find its way: routes of built-in kinds take a list of
// types of which one is theirs, and custom resources look at it before the answer is negotiated.
func (x *exchange) patchType() (types.PatchType, error) {
	header := x.r.Header.Get("Content-Type")
	kind, _, _ := strings.Cut(header, ";")
	custom := x.t.Version.Untyped()
	known := patchTypes(custom)
	switch {
	case slices.Contains(known, kind):
	case custom:
		return "", errMedia(known...)
	default:
		listed := func(part string) bool {
			part, _, _ = strings.Cut(part, ";")
			return slices.Contains(known, strings.TrimSpace(part))
		}
		if !slices.ContainsFunc(strings.Split(header, ","), listed) {
			return "", errNotReadable()
		}
	}
	return types.PatchType(kind), nil
}

func (x *exchange) delete() {
	f, ok := x.form(false)
	if !ok {
		return
	}
	o, err := x.deleteOptions()
	if err != nil {
		x.fail(err)
		return
	}
	out, err := x.s.delete(x.r.Context(), x.req, x.t, o)
	if err == nil && !out.status && out.Removed && !x.t.Kind.ReturnsDeleted() {
		x.deleted(f, out)
		return
	}
	x.answer(http.StatusOK, f, out, err)
}

// deleted answers a removal with a Status.
func (x *exchange) deleted(f negotiate.Form, out outcome) {
	s := &metav1.Status{Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{
		Name: out.Object().GetName(), Group: x.t.Version.Group, Kind: x.t.Kind.Resource, UID: out.Object().GetUID(),
	}}
	f.As = ""
	x.send(http.StatusOK, f, s)
}

func (x *exchange) deleteOptions() (*metav1.DeleteOptions, error) {
	data, err := x.body()
	if err != nil {
		return nil, err
	}
	media := negotiate.ContentType(x.r.Header.Get("Content-Type"))
	if len(data) > 0 && media != negotiate.JSON && media != negotiate.YAML && media != negotiate.Protobuf {
		return nil, errMedia(negotiate.JSON, negotiate.YAML, negotiate.Protobuf)
	}
	o, err := decode.Delete(data, media, x.q)
	if err == nil && len(data) > 0 {
		x.auditOptions(o)
	}
	return o, err
}

func (x *exchange) get() {
	f, ok := x.form(false)
	if !ok {
		return
	}
	o, err := decode.Get(x.q)
	if err == nil && x.q.Get("export") == "true" {
		err = apierrors.NewBadRequest("the export parameter, deprecated since v1.14, is no longer supported")
	}
	if err != nil {
		x.fail(err)
		return
	}
	out, err := x.s.get(x.r.Context(), x.req, x.t, o)
	x.answer(http.StatusOK, f, out, err)
}

// send writes a status or another object of meta/v1.
func (x *exchange) send(code int, f negotiate.Form, s *metav1.Status) {
	data, err := encode.Any(f, s, encode.StatusKind)
	if err != nil {
		x.fail(err)
		return
	}
	auditStatus(x.w, s)
	send(x.w, x.r, code, f.Media, encode.One(data))
}

// answer writes the outcome of a verb in the form that was negotiated.
func (x *exchange) answer(code int, f negotiate.Form, out outcome, err error) {
	if err != nil {
		x.fail(err)
		return
	}
	if out.status {
		f.As = ""
		x.send(code, f, &metav1.Status{Status: metav1.StatusSuccess, Code: int32(code), Details: out.details})
		return
	}
	data, err := x.encode(f, out)
	if err != nil {
		x.fail(err)
		return
	}
	x.auditAnswer(f, data, func(f negotiate.Form) ([]byte, error) { return x.encode(f, out) })
	send(x.w, x.r, code, f.Media, encode.One(data))
}

func (x *exchange) encode(f negotiate.Form, out outcome) ([]byte, error) {
	k, v := x.t.Kind, x.t.Version
	switch {
	case out.foreign && f.As == "":
		return encode.Any(f, out.Object(), encode.KindOf(out.Object()))
	case out.foreign && encode.KindOf(out.Object()) == scales.GroupVersionKind():
		k, v = scales, &scales.Versions[0]
	case out.foreign:
		return nil, errNotAcceptable(x.offer())
	}
	if f.As != "" {
		include, err := encode.CheckInclude(x.q.Get("includeObject"))
		if err != nil {
			return nil, err
		}
		return encode.Transformed(f, k, v, out.Object(), encode.TableOptions{Include: include, Now: time.Now()})
	}
	return encode.Result(f, x.t.Version, out.Result)
}

package server

import (
	"bytes"
	"net/http"
	"net/url"
	"path"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// Bodies are made into JSON for the audit log only where its policy asks for them, and before anybody changes them. One that cannot be
// is left out: the request itself does not fail for it.

// origin is where a request comes from; nothing where nobody asks.
func (s *Server) origin(r *http.Request, start time.Time) audit.Origin {
	if s.parts.Audit == nil {
		return audit.Origin{}
	}
	o := audit.Origin{URI: r.URL.RequestURI(), Received: start}
	for _, ip := range utilnet.SourceIPs(r) {
		o.SourceIPs = append(o.SourceIPs, ip.String())
	}
	return o
}

// directOrigin says in the words of the HTTP door what came through the direct one.
func directOrigin(req *request.Request, start time.Time) audit.Origin {
	p := []string{"/apis", req.APIGroup, req.APIVersion}
	if req.APIGroup == "" {
		p = []string{"/api", req.APIVersion}
	}
	if req.Namespace != "" && !(req.Resource == "namespaces" && req.APIGroup == "") {
		p = append(p, "namespaces", req.Namespace)
	}
	u := url.URL{Path: path.Join(append(p, req.Resource, req.Name, req.Subresource)...)}
	q := url.Values{}
	for name, v := range map[string]string{"fieldSelector": req.FieldSelector, "labelSelector": req.LabelSelector} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if req.Verb == "watch" {
		q.Set("watch", "true")
	}
	u.RawQuery = q.Encode()
	return audit.Origin{URI: u.RequestURI(), Received: start}
}

func auditStatus(w http.ResponseWriter, s *metav1.Status) {
	rw, ok := w.(*response)
	if !ok || rw.trail == nil {
		return
	}
	rw.trail.Status(s)
	if rw.trail.WantsResponse() {
		if data, err := codec.EncodeJSON(s, encode.StatusKind); err == nil {
			rw.trail.Response(data)
		}
	}
}

// auditBody logs a body as it came.
func (x *exchange) auditBody(data []byte, media string, obj object.Object) {
	t := x.w.trail
	t.Refers(obj)
	if !t.WantsRequest() {
		return
	}
	var err error
	switch media {
	case negotiate.JSON:
		data = bytes.Clone(data)
	case negotiate.YAML:
		data, err = yaml.YAMLToJSON(data)
	default:
		data, err = codec.EncodeJSON(obj, x.s.expect(x.req, x.t).GroupVersionKind)
	}
	if err == nil {
		t.Request(data)
	}
}

func (x *exchange) auditPatch(data []byte, kind types.PatchType) { auditPatch(x.w.trail, data, kind) }

func auditPatch(t *audit.Trail, data []byte, kind types.PatchType) {
	if !t.WantsRequest() {
		return
	}
	data = bytes.Clone(data)
	if kind == types.ApplyYAMLPatchType {
		var err error
		if data, err = yaml.YAMLToJSON(data); err != nil {
			return
		}
	}
	t.Request(data)
}

var deleteOptionsKind = schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: "DeleteOptions"}

func (x *exchange) auditOptions(o *metav1.DeleteOptions) { auditOptions(x.w.trail, o) }

func auditOptions(t *audit.Trail, o *metav1.DeleteOptions) {
	if !t.WantsRequest() {
		return
	}
	if data, err := codec.EncodeJSON(o, deleteOptionsKind); err == nil {
		t.Request(data)
	}
}

// auditAnswer logs an answer: data when it is JSON, else what again makes.
func (x *exchange) auditAnswer(f negotiate.Form, data []byte, again func(negotiate.Form) ([]byte, error)) {
	if !x.w.trail.WantsResponse() {
		return
	}
	if f.Media != negotiate.JSON {
		f.Media = negotiate.JSON
		var err error
		if data, err = again(f); err != nil {
			return
		}
	}
	x.w.trail.Response(bytes.Clone(data))
}

func (x *exchange) auditPage(f negotiate.Form, b *encode.Body, page *store.Page) {
	if !x.w.trail.WantsResponse() {
		return
	}
	if f.Media != negotiate.JSON {
		f.Media = negotiate.JSON
		var err error
		if b, err = encode.List(f, x.t.Version, page); err != nil {
			return
		}
	}
	x.w.trail.Response(b.Bytes())
}

func (c *call) auditBody(obj object.Object) {
	c.trail.Refers(obj)
	if !c.trail.WantsRequest() {
		return
	}
	if data, err := codec.EncodeJSON(obj, c.s.expect(c.req, c.t).GroupVersionKind); err == nil {
		c.trail.Request(data)
	}
}

func (c *call) auditResult(obj client.Object) {
	if !c.trail.WantsResponse() {
		return
	}
	if data, err := codec.EncodeJSON(obj, encode.KindOf(obj)); err == nil {
		c.trail.Response(data)
	}
}

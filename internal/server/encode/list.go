package encode

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

// Body is an answer: bytes, and for a list what they are around.
type Body struct {
	head, tail []byte
	items      *store.Items // nil: the head is all
}

// One makes a body of one part.
func One(p []byte) *Body { return &Body{head: p} }

// Whole gives the body when it is in one part.
func (b *Body) Whole() ([]byte, bool) { return b.head, b.items == nil }

// Size in bytes.
func (b *Body) Size() int {
	if b.items == nil {
		return len(b.head)
	}
	return len(b.head) + b.items.Size + len(b.tail)
}

// Write writes all parts one after the other.
func (b *Body) Write(w io.Writer) error {
	if _, err := w.Write(b.head); err != nil || b.items == nil {
		return err
	}
	for _, p := range b.items.Parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	_, err := w.Write(b.tail)
	return err
}

// Bytes joins the parts.
func (b *Body) Bytes() []byte {
	if b.items == nil {
		return b.head
	}
	out := bytes.NewBuffer(make([]byte, 0, b.Size()))
	_ = b.Write(out) // a buffer takes all
	return out.Bytes()
}

// ListMeta of a page.
func ListMeta(p *store.Page) metav1.ListMeta {
	return metav1.ListMeta{ResourceVersion: strconv.FormatInt(p.Revision, 10), Continue: p.Continue, RemainingItemCount: p.Remaining}
}

// List writes a page of objects in version v.
func List(f negotiate.Form, v *object.Version, p *store.Page) (*Body, error) {
	if f.Media == negotiate.Protobuf {
		return protoList(v, p)
	}
	b, err := jsonList(v, p)
	if err != nil || f.Media == negotiate.JSON && !f.Pretty {
		return b, err
	}
	if f.Media == negotiate.YAML {
		y, err := yaml.JSONToYAML(b.Bytes())
		return One(y), err
	}
	data, err := indented(b.Bytes(), nil)
	return One(data), err
}

func jsonList(v *object.Version, p *store.Page) (*Body, error) {
	head, err := jsonListHead(v.ListKind(), v.GroupVersion.String(), ListMeta(p))
	if err != nil {
		return nil, err
	}
	items, err := p.Items(store.Format{GroupVersion: v.GroupVersion, As: "json"}, func() (*store.Items, error) { return jsonItems(v, p) })
	return &Body{head, jsonTail, items}, err
}

func jsonItems(v *object.Version, p *store.Page) (*store.Items, error) {
	var all [][]byte
	var err error
	if v.FromHubAll != nil {
		all, err = store.JSONAll(v, p.Entries)
	} else {
		all, err = p.JSON(v)
	}
	if err != nil {
		return nil, err
	}
	out := &store.Items{Parts: make([][]byte, 0, 2*len(all))}
	_, untyped := v.New().(runtime.Unstructured)
	for i, item := range all {
		// Items of typed lists leave their kind out; what stands before each is then ",{" in place of ",".
		sep := comma
		if !untyped {
			item, sep = store.JSONMembers(item, v), commaBrace
		}
		if i == 0 {
			sep = sep[1:]
		}
		out.Add(sep)
		out.Add(item)
	}
	return out, nil
}

var (
	comma      = []byte(",")
	commaBrace = []byte(",{")
	jsonTail   = []byte("]}\n")
)

func jsonListHead(kind, apiVersion string, m metav1.ListMeta) ([]byte, error) {
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 0, 64+len(meta))
	head = append(head, `{"kind":"`...)
	head = append(head, kind...)
	head = append(head, `","apiVersion":"`...)
	head = append(head, apiVersion...)
	head = append(head, `","metadata":`...)
	head = append(head, meta...)
	return append(head, `,"items":[`...), nil
}

var protoPrefix = []byte("k8s\x00")

// protoList writes runtime.Unknown{typeMeta, raw: List{metadata = 1, items = 2…}}.
func protoList(v *object.Version, p *store.Page) (*Body, error) {
	meta := ListMeta(p)
	metaBytes, err := meta.Marshal()
	if err != nil {
		return nil, err
	}
	items, err := p.Items(store.Format{GroupVersion: v.GroupVersion, As: "protobuf"}, func() (*store.Items, error) { return protoItems(v, p) })
	if err != nil {
		return nil, err
	}
	size := 1 + varintLen(len(metaBytes)) + len(metaBytes) + items.Size
	typeMeta, err := (&runtime.TypeMeta{APIVersion: v.GroupVersion.String(), Kind: v.ListKind()}).Marshal()
	if err != nil {
		return nil, err
	}
	head := append([]byte(nil), protoPrefix...)
	head = appendField(head, 1, typeMeta)
	head = append(head, 2<<3|2)
	head = binary.AppendUvarint(head, uint64(size))
	head = appendField(head, 1, metaBytes)
	return &Body{head, protoTail, items}, nil
}

// protoTail are contentEncoding and contentType, empty, as upstream's serializer writes them.
var protoTail = []byte{3<<3 | 2, 0, 4<<3 | 2, 0}

func protoItems(v *object.Version, p *store.Page) (*store.Items, error) {
	envelopes, err := p.Proto(v)
	if err != nil {
		return nil, err
	}
	out := &store.Items{Parts: make([][]byte, 0, 2*len(envelopes))}
	heads := make([]byte, 0, len(envelopes)*6)
	for _, env := range envelopes {
		raw, err := rawMessage(env)
		if err != nil {
			return nil, err
		}
		n := len(heads)
		heads = append(heads, 2<<3|2)
		heads = binary.AppendUvarint(heads, uint64(len(raw)))
		out.Add(heads[n:len(heads):len(heads)])
		out.Add(raw)
	}
	return out, nil
}

func appendField(b []byte, number byte, data []byte) []byte {
	b = append(b, number<<3|2)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func varintLen(n int) int {
	l := 1
	for n >= 0x80 {
		n >>= 7
		l++
	}
	return l
}

var errEnvelope = errors.New("malformed protobuf envelope")

// rawMessage is the object's own message inside its envelope.
func rawMessage(env []byte) ([]byte, error) {
	if len(env) < len(protoPrefix) {
		return nil, errEnvelope
	}
	rest := env[len(protoPrefix):]
	for len(rest) > 0 {
		tag := rest[0]
		n, l := binary.Uvarint(rest[1:])
		if tag&7 != 2 || l <= 0 || uint64(len(rest)) < uint64(1+l)+n {
			return nil, errEnvelope
		}
		data := rest[1+l : uint64(1+l)+n]
		if tag>>3 == 2 {
			return data, nil
		}
		rest = rest[uint64(1+l)+n:]
	}
	return nil, errEnvelope
}

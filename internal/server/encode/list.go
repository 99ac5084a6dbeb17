package encode

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

// Body is an answer in parts that are written one after the other.
type Body struct {
	Parts [][]byte
	Size  int
}

func (b *Body) add(p []byte) {
	b.Parts = append(b.Parts, p)
	b.Size += len(p)
}

// One makes a body of one part.
func One(p []byte) *Body { return &Body{Parts: [][]byte{p}, Size: len(p)} }

// Bytes joins the parts.
func (b *Body) Bytes() []byte {
	out := make([]byte, 0, b.Size)
	for _, p := range b.Parts {
		out = append(out, p...)
	}
	return out
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

var comma = []byte(",")

func jsonList(v *object.Version, p *store.Page) (*Body, error) {
	b := &Body{Parts: make([][]byte, 0, 2*len(p.Entries)+2)}
	head, err := jsonListHead(v.ListKind(), v.GroupVersion.String(), ListMeta(p))
	if err != nil {
		return nil, err
	}
	b.add(head)
	_, untyped := v.New().(runtime.Unstructured)
	var items [][]byte
	if v.FromHubAll != nil {
		items, err = store.JSONAll(v, p.Entries)
	} else {
		items, err = p.JSON(v)
	}
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		// Items of typed lists leave their kind out; what stands before each is then ",{" in place of ",".
		sep := comma
		if !untyped {
			item, sep = store.JSONMembers(item, v), commaBrace
		}
		if i == 0 {
			sep = sep[1:]
		}
		b.add(sep)
		b.add(item)
	}
	b.add([]byte("]}\n"))
	return b, nil
}

var commaBrace = []byte(",{")

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
	items := make([][]byte, 0, len(p.Entries))
	size := 1 + varintLen(len(metaBytes)) + len(metaBytes)
	envelopes, err := p.Proto(v)
	if err != nil {
		return nil, err
	}
	for _, env := range envelopes {
		raw, err := rawMessage(env)
		if err != nil {
			return nil, err
		}
		items = append(items, raw)
		size += 1 + varintLen(len(raw)) + len(raw)
	}
	b := &Body{Parts: make([][]byte, 0, 2*len(items)+2)}
	typeMeta, err := (&runtime.TypeMeta{APIVersion: v.GroupVersion.String(), Kind: v.ListKind()}).Marshal()
	if err != nil {
		return nil, err
	}
	head := append([]byte(nil), protoPrefix...)
	head = appendField(head, 1, typeMeta)
	head = append(head, 2<<3|2)
	head = binary.AppendUvarint(head, uint64(size))
	head = appendField(head, 1, metaBytes)
	b.add(head)
	heads := make([]byte, 0, len(items)*6)
	for _, raw := range items {
		n := len(heads)
		heads = append(heads, 2<<3|2)
		heads = binary.AppendUvarint(heads, uint64(len(raw)))
		b.add(heads[n:len(heads):len(heads)])
		b.add(raw)
	}
	// contentEncoding and contentType, empty, as upstream's serializer writes them.
	b.add([]byte{3<<3 | 2, 0, 4<<3 | 2, 0})
	return b, nil
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

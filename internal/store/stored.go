package store

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/labels"
)

// What is read from stored values here without decoding them: the envelope's message ("k8s\x00", then runtime.Unknown), in it the
// metadata, which is field 1 of every kind, and in that a few fields of ObjectMeta. The numbers are those of the types' .proto files.
const (
	unknownRaw      = 2
	objectMetadata  = 1
	metaVersion     = 6
	metaLabels      = 11
	mapKey          = 1
	mapValue        = 2
	envelopePrefix  = "k8s\x00"
	emptyVersionLen = 2 // a tag and a length of 0
)

// isEnvelope says whether a value is protobuf: JSON is not kept, as it takes too long to decode again.
func isEnvelope(value []byte) bool { return bytes.HasPrefix(value, []byte(envelopePrefix)) }

// part is a field of bytes inside a message.
type part struct {
	at         int // where the field begins, with its tag
	start, end int // its content
}

func (p part) of(msg []byte) []byte { return msg[p.start:p.end] }

// find gives the first field of that number, which is one of bytes.
func find(msg []byte, want protowire.Number) (part, bool) {
	for at := 0; at < len(msg); {
		num, typ, n := protowire.ConsumeTag(msg[at:])
		if n < 0 {
			return part{}, false
		}
		if num == want && typ == protowire.BytesType {
			content, m := protowire.ConsumeBytes(msg[at+n:])
			if m < 0 {
				return part{}, false
			}
			end := at + n + m
			return part{at, end - len(content), end}, true
		}
		m := protowire.ConsumeFieldValue(num, typ, msg[at+n:])
		if m < 0 {
			return part{}, false
		}
		at += n + m
	}
	return part{}, false
}

// withVersion is a stored value with a resourceVersion, which the stored one leaves empty; false when it is not as this program writes it.
func withVersion(stored []byte, version string) ([]byte, bool) {
	env := stored[len(envelopePrefix):]
	raw, ok := find(env, unknownRaw)
	if !ok {
		return nil, false
	}
	obj := raw.of(env)
	meta, ok := find(obj, objectMetadata)
	if !ok || meta.at != 0 {
		return nil, false
	}
	m := meta.of(obj)
	rv, ok := find(m, metaVersion)
	if !ok || rv.end-rv.at != emptyVersionLen {
		return nil, false
	}
	metaLen := len(m) - emptyVersionLen + 1 + protowire.SizeBytes(len(version))
	objLen := 1 + protowire.SizeBytes(metaLen) + len(obj) - meta.end
	out := make([]byte, 0, len(envelopePrefix)+raw.at+1+protowire.SizeBytes(objLen)+len(env)-raw.end)
	out = append(out, envelopePrefix...)
	out = append(out, env[:raw.at]...)
	out = protowire.AppendTag(out, unknownRaw, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(objLen))
	out = protowire.AppendTag(out, objectMetadata, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(metaLen))
	out = append(out, m[:rv.at]...)
	out = protowire.AppendTag(out, metaVersion, protowire.BytesType)
	out = protowire.AppendString(out, version)
	out = append(out, m[rv.end:]...)
	out = append(out, obj[meta.end:]...)
	return append(out, env[raw.end:]...), true
}

// storedLabels are the labels of an entry, read from its stored value at each look.
type storedLabels Entry

var _ labels.Labels = (*storedLabels)(nil)

func (s *storedLabels) Has(name string) bool {
	_, ok := s.Lookup(name)
	return ok
}

func (s *storedLabels) Get(name string) string {
	v, _ := s.Lookup(name)
	return v
}

func (s *storedLabels) Lookup(name string) (string, bool) {
	msg := (*Entry)(s).value()[len(envelopePrefix):]
	for _, num := range []protowire.Number{unknownRaw, objectMetadata} {
		p, ok := find(msg, num)
		if !ok {
			return "", false
		}
		msg = p.of(msg)
	}
	for {
		p, ok := find(msg, metaLabels)
		if !ok {
			return "", false
		}
		pair := p.of(msg)
		if k, ok := find(pair, mapKey); ok && string(k.of(pair)) == name {
			v, _ := find(pair, mapValue)
			return bytesAsString(v.of(pair)), true
		}
		msg = msg[p.end:]
	}
}

// labels of an entry that can be decoded.
func (e *Entry) labels() labels.Labels {
	if obj := e.decoded.Load().held(); obj != nil {
		return labels.Set(obj.GetLabels())
	}
	return (*storedLabels)(e)
}

package negotiate

import (
	"slices"
	"testing"
)

// FuzzAccept reads Accept headers: what is chosen was offered.
func FuzzAccept(f *testing.F) {
	for _, s := range []string{
		"", "*/*", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
		"application/yaml;q=0.5, application/json;q=0.4", "application/cbor", "text/*;q=NaN", "application/json;q=-1", "a/b;c=\"d", ",,;", "APPLICATION/JSON; charset=utf-8; pretty=1",
	} {
		f.Add(s, true, true)
		f.Add(s, false, false)
	}
	f.Fuzz(func(t *testing.T, header string, protobuf, yaml bool) {
		for _, as := range []func(string, string, string) bool{nil, TransformMeta} {
			o := Offer{Protobuf: protobuf, YAML: yaml, As: as}
			form, ok := Accept(header, o)
			if !ok {
				continue
			}
			if !slices.Contains(o.Accepted(), form.Media) {
				t.Fatalf("%q: %s was not offered", header, form.Media)
			}
			if form.Transformed() && (as == nil || !as(form.As, form.Group, form.Version)) {
				t.Fatalf("%q: %s was not offered", header, form.As)
			}
		}
		_ = ContentType(header)
	})
}

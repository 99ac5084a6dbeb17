package negotiate

import "testing"

func TestAccept(t *testing.T) {
	table := TransformMeta
	for _, c := range []struct {
		header string
		offer  Offer
		want   Form
		ok     bool
	}{
		{"", Offer{}, Form{Media: JSON}, true},
		{"*/*", Offer{}, Form{Media: JSON}, true},
		{"text/html", Offer{}, Form{}, false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Offer{}, Form{Media: JSON}, true},
		{Protobuf, Offer{}, Form{}, false},
		{Protobuf + ",application/json", Offer{}, Form{Media: JSON}, true},
		{Protobuf + ",application/json", Offer{Protobuf: true}, Form{Media: Protobuf}, true},
		{YAML, Offer{YAML: true}, Form{Media: YAML}, true},
		{"application/json;q=0.5,application/yaml", Offer{YAML: true}, Form{Media: YAML}, true},
		{"application/json;as=Table;v=v1;g=meta.k8s.io", Offer{}, Form{}, false},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Offer{}, Form{Media: JSON}, true},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Offer{As: table}, Form{Media: JSON, As: "Table", Version: "v1", Group: "meta.k8s.io"}, true},
		{Protobuf + ";as=Table;v=v1;g=meta.k8s.io", Offer{Protobuf: true, As: table}, Form{}, false},
		{"application/json;as=Table;v=v7;g=meta.k8s.io", Offer{As: table}, Form{}, false},
		{Protobuf + ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Offer{Protobuf: true, As: table}, Form{Media: Protobuf, As: "PartialObjectMetadataList", Version: "v1", Group: "meta.k8s.io"}, true},
		{"application/vnd.kubernetes.protobuf;stream=watch", Offer{Protobuf: true}, Form{Media: Protobuf}, true},
	} {
		got, ok := Accept(c.header, c.offer)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %+v %v, want %+v %v", c.header, got, ok, c.want, c.ok)
		}
	}
}

// Package negotiate chooses the form of a response from the Accept header, and names the form of a request body from
// its Content-Type, by the rules of the Kubernetes API: JSON, YAML and protobuf, and for objects the transformations
// as=Table, as=PartialObjectMetadata and as=PartialObjectMetadataList of meta.k8s.io.
//
// It is pure and cheap: the headers that real clients send most are recognised without parsing.
package negotiate

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Media types of the API.
const (
	JSON     = "application/json"
	YAML     = "application/yaml"
	Protobuf = "application/vnd.kubernetes.protobuf"
)

// Routes and Watches are the media types that the routes of built-in kinds have, those of lists more, and name them by.
var (
	Routes  = []string{JSON, YAML, Protobuf}
	Watches = []string{JSON, YAML, Protobuf, JSON + ";stream=watch", Protobuf + ";stream=watch"}
)

// Form is how a response is written.
type Form struct {
	// Media is one of [JSON], [YAML], [Protobuf].
	Media string
	// As is the transformation asked for: "", Table, PartialObjectMetadata or PartialObjectMetadataList.
	As string
	// Version of the transformation or of the discovery document: v1, v1beta1, v2.
	Version string
	Group   string
	// Pretty asks for indented JSON.
	Pretty bool
}

// Transformed says whether the objects themselves are replaced by another representation.
func (f Form) Transformed() bool { return f.As != "" }

// Target is the kind of the transformation.
func (f Form) Target() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: f.Group, Version: f.Version, Kind: f.As}
}

// Offer says what an endpoint can give.
type Offer struct {
	Protobuf bool // the types have a protobuf form
	YAML     bool
	// As says whether a transformation is possible; nil: none.
	As func(kind, group, version string) bool
}

// Accepted media types of an offer, for the text of a refusal.
func (o Offer) Accepted() []string {
	if !o.YAML {
		return []string{JSON, Protobuf}
	}
	return []string{JSON, YAML, Protobuf} // protobuf even where only metadata has such a form
}

// Routed says whether anything in an Accept header names a media type that a route has. It is what a request is held to before anything else:
// ranges such as application/* do not count, nor do parameters.
func Routed(header string, have ...string) bool {
	if header == "" {
		return true
	}
	for _, part := range strings.Split(header, ",") {
		media, _, _ := strings.Cut(part, ";")
		media = strings.TrimSpace(media)
		if media == "*/*" || slices.Contains(have, media) {
			return true
		}
	}
	return false
}

// Names says whether an Accept header is missing or names any media type at all.
func Names(header string) bool { return header == "" || strings.Contains(header, "/") }

type clause struct {
	media  string
	params map[string]string
	q      float64
}

// Accept chooses the first form of the Accept header, by weight and order, that the offer can give. It is false when there
// is none: the answer is then 406.
func Accept(header string, o Offer) (Form, bool) {
	switch header {
	case "", "*/*", JSON, "application/json, */*", "application/*":
		return Form{Media: JSON}, true
	case Protobuf:
		if o.Protobuf {
			return Form{Media: Protobuf}, true
		}
		return Form{}, false
	case "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf, application/json":
		if o.Protobuf {
			return Form{Media: Protobuf}, true
		}
		return Form{Media: JSON}, true
	}
	for _, c := range parse(header) {
		if f, ok := o.match(c); ok {
			return f, true
		}
	}
	return Form{}, false
}

// AcceptAs chooses the first form of the Accept header that is a transformation the offer can give, whatever else is accepted with more
// weight.
func AcceptAs(header string, o Offer) (Form, bool) {
	for _, c := range parse(header) {
		if f, ok := o.match(c); ok && f.Transformed() {
			return f, true
		}
	}
	return Form{}, false
}

// First of the media types of an Accept header, by weight and order, that have says the endpoint has. It is false when there is none.
func First(header string, have func(media string) bool) (string, bool) {
	if header == "" {
		header = "*/*"
	}
	for _, c := range parse(header) {
		if have(c.media) {
			return c.media, true
		}
	}
	return "", false
}

func (o Offer) match(c clause) (Form, bool) {
	f := Form{As: c.params["as"], Group: c.params["g"], Version: c.params["v"], Pretty: c.params["pretty"] == "1"}
	switch c.media {
	case "*/*", "application/*", JSON:
		f.Media = JSON
	case YAML:
		if !o.YAML {
			return f, false
		}
		f.Media = YAML
	case Protobuf:
		if !o.Protobuf && !strings.HasPrefix(f.As, "PartialObjectMetadata") {
			return f, false
		}
		f.Media = Protobuf
	default:
		return f, false
	}
	if f.As == "" {
		return f, true
	}
	if f.As == "Table" && f.Media == Protobuf {
		return f, false // tables have no protobuf form
	}
	return f, o.As != nil && o.As(f.As, f.Group, f.Version)
}

// parse reads the clauses of a header by weight. It is as lenient as clients are used to: parameters may be without a value, and media types
// are what they are, in the case in which they are written.
func parse(header string) []clause {
	var out []clause
	for _, part := range strings.Split(header, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		media, rest, _ := strings.Cut(part, ";")
		c := clause{media: strings.TrimSpace(media), params: map[string]string{}, q: 1}
		for _, p := range strings.Split(rest, ";") {
			k, v, _ := strings.Cut(p, "=")
			c.params[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
		}
		if q, err := strconv.ParseFloat(c.params["q"], 64); err == nil {
			c.q = q
		}
		out = append(out, c) // weight 0 comes last, but is no refusal
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].q > out[j].q })
	return out
}

// ContentType names the media type of a request body without its parameters; an empty header means JSON.
func ContentType(header string) string {
	if header == "" || header == JSON {
		return JSON
	}
	if i := strings.IndexByte(header, ';'); i >= 0 {
		header = header[:i]
	}
	return strings.ToLower(strings.TrimSpace(header))
}

// TransformMeta allows the transformations of meta.k8s.io that an ordinary resource has. Whether what is answered is one object or many is seen
// only afterwards.
func TransformMeta(kind, group, version string) bool {
	return metaVersion(group, version) && (kind == "Table" || kind == "PartialObjectMetadata" || kind == "PartialObjectMetadataList")
}

func metaVersion(group, version string) bool {
	return group == "meta.k8s.io" && (version == "v1" || version == "v1beta1")
}

package server_test

import (
	"bytes"
	"encoding/json"

	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/servertest"
)

// fixture is one object of k8s.io/api's testdata, with every field filled, in its three forms.
type fixture struct {
	kind             *object.Kind
	version          *object.Version
	json, yaml, pb   []byte
	of               schema.GroupVersionKind
	namespace, named string
}

// form gives the fixture as a media type has it.
func (f *fixture) form(media string) []byte {
	switch media {
	case negotiate.JSON:
		return f.json
	case negotiate.YAML:
		return f.yaml
	}
	return f.pb
}

// sent is the fixture as clients send it: JSON within JSON (RawExtension) is kept as it comes, so it comes without blanks.
func (f *fixture) sent(t *testing.T, media string) []byte {
	t.Helper()
	if media != negotiate.JSON {
		return f.form(media)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, f.json); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var media = []string{negotiate.JSON, negotiate.YAML, negotiate.Protobuf}

// fixtures are those of all versions of the built-in kinds that the testdata of the module k8s.io/api has.
func fixtures(t *testing.T) []*fixture {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatalf("where is the module k8s.io/api? %v", err)
	}
	var all []*fixture
	for _, k := range object.Builtin().All() {
		for i := range k.Versions {
			v := &k.Versions[i]
			group := v.Group
			if group == "" {
				group = "core"
			}
			base := filepath.Join(strings.TrimSpace(string(dir)), "testdata", "HEAD", group+"."+v.Version+"."+v.Kind)
			f := &fixture{kind: k, version: v, of: v.GroupVersion.WithKind(v.Kind), named: "nameValue"}
			if k.Scope == object.Namespaced {
				f.namespace = "namespaceValue"
			}
			for ext, into := range map[string]*[]byte{".json": &f.json, ".yaml": &f.yaml, ".pb": &f.pb} {
				if *into, err = os.ReadFile(base + ext); err != nil {
					break
				}
			}
			switch {
			case err == nil:
				all = append(all, f)
			case !errors.Is(err, fs.ErrNotExist):
				t.Fatal(err)
			case group != "apiextensions.k8s.io" && group != "apiregistration.k8s.io": // of other modules
				t.Errorf("no fixture of %s", f.of)
			}
			err = nil
		}
	}
	if len(all) < 70 {
		t.Fatalf("only %d fixtures", len(all))
	}
	return all
}

// TestFixturesKeepTheirBytes sends every fixture in each form through what reads bodies, into the form of the datastore and back,
// and wants the very bytes of all three forms: no field is lost, renamed, moved or defaulted over.
func TestFixturesKeepTheirBytes(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.of.GroupVersion().String()+"/"+f.of.Kind, func(t *testing.T) {
			for _, in := range media {
				obj, problems, _, err := decode.Object(f.sent(t, in), in, decode.ExpectVersion(f.version), true)
				if err != nil || len(problems) > 0 {
					t.Fatalf("%s: %v %v", in, err, problems)
				}
				if !f.kind.Virtual {
					obj = stored(t, f, obj)
				}
				for _, out := range media {
					data := f.encoded(t, out, obj)
					if want := f.form(out); !bytes.Equal(bytes.TrimSpace(data), bytes.TrimSpace(want)) {
						t.Errorf("sent as %s, got as %s: %s", in, out, firstDifference(data, want))
					}
				}
			}
		})
	}
}

// encoded is an object of the hub version, or of a virtual kind, as a client gets it.
func (f *fixture) encoded(t *testing.T, media string, obj object.Object) []byte {
	t.Helper()
	form := negotiate.Form{Media: media, Pretty: media == negotiate.JSON}
	data, err := encode.Result(form, f.version, registry.Result{Fresh: obj})
	if err == nil && f.version.FromHub != nil && f.of.Kind == "HorizontalPodAutoscaler" {
		// Version 1 shows what it has no fields for in annotations, and the processor's use there, too. The fixture has none.
		var shown object.Object
		if shown, err = f.version.FromHub(obj); err == nil {
			const use = `[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":5,"currentAverageValue":"0"}}]`
			const annotation = "autoscaling.alpha.kubernetes.io/current-metrics"
			if got := shown.GetAnnotations()[annotation]; got != use {
				t.Errorf("%s: %s\nwant %s", annotation, got, use)
			}
			delete(shown.GetAnnotations(), annotation)
			data, err = encode.Any(form, shown, f.of)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", media, err)
	}
	return data
}

// stored brings an object to the hub version and through the form of the datastore.
func stored(t *testing.T, f *fixture, obj object.Object) object.Object {
	t.Helper()
	if f.version.ToHub != nil {
		var err error
		if obj, err = f.version.ToHub(obj); err != nil {
			t.Fatal(err)
		}
	}
	plain := *f.kind
	plain.Default = nil // the fixtures are nonsense in places where defaulting wants sense
	data, err := codec.EncodeStorage(&plain, obj)
	if err != nil {
		t.Fatal(err)
	}
	back, err := codec.DecodeStorage(&plain, data)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// TestFixturesAreServed puts every fixture into the datastore as upstream's server would have, and gets it through the HTTP door in
// each form: it is the fixture with its revision and defaults.
func TestFixturesAreServed(t *testing.T) {
	all := fixtures(t)
	revisions := map[*fixture]string{}
	api := servertest.Start(t, func(cfg *server.Config) {
		for _, f := range all {
			if f.kind.Virtual || f.version != f.kind.Hub() {
				continue
			}
			put, err := cfg.Etcd.Put(t.Context(), path.Join("/registry", f.kind.StoragePrefix, f.namespace, f.named), string(f.pb))
			if err != nil {
				t.Fatal(err)
			}
			revisions[f] = strconv.FormatInt(put.Header.Revision, 10)
		}
	})
	for f, rv := range revisions {
		t.Run(f.of.GroupVersion().String()+"/"+f.of.Kind, func(t *testing.T) {
			w := newWeb(t, api.REST)
			for _, m := range media {
				res, data := w.do("GET", f.path()+"?pretty=true", "", "Accept", m)
				if res.StatusCode != http.StatusOK {
					t.Fatalf("%s: %d %s", m, res.StatusCode, data)
				}
				if want := f.at(t, m, rv); !bytes.Equal(bytes.TrimSpace(data), bytes.TrimSpace(want)) {
					t.Errorf("%s: %s", m, firstDifference(data, want))
				}
			}
		})
	}
}

func (f *fixture) path() string {
	base := "/apis/" + f.of.Group + "/" + f.of.Version
	if f.of.Group == "" {
		base = "/api/" + f.of.Version
	}
	if f.namespace != "" {
		base += "/namespaces/" + f.namespace
	}
	return base + "/" + f.kind.Resource + "/" + f.named
}

// at is a form of the fixture at a revision, defaulted as everything is that comes out of the datastore.
func (f *fixture) at(t *testing.T, m, rv string) []byte {
	t.Helper()
	obj, _, err := codec.Decode(f.pb, negotiate.Protobuf, nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := obj.(object.Object)
	if !ok {
		t.Fatalf("%T has no metadata", obj)
	}
	o.SetResourceVersion(rv)
	if f.kind.Default != nil {
		f.kind.Default(o)
	}
	data, err := encode.Any(negotiate.Form{Media: m, Pretty: m == negotiate.JSON}, o, f.of)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// firstDifference shows where two texts part.
func firstDifference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	around := func(b []byte) []byte { return b[max(0, min(i, len(b))-60):min(len(b), i+60)] }
	return "got  …" + string(around(got)) + "…\nwant …" + string(around(want)) + "…"
}

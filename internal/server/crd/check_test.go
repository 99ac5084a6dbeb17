package crd

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
)

const plainDefinition = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"foos.example.com","uid":"1","resourceVersion":"1"},
"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]},"status":{"storedVersions":["v1"]}}`

// definitionCase says what differs from a plain definition, and what upstream's validation finds wrong.
type definitionCase struct {
	Name    string         `json:"name"`
	CRD     map[string]any `json:"crd"`
	Old     map[string]any `json:"old"` // nil: the definition is new
	Version map[string]any `json:"version"`
	Want    []string       `json:"want"`
}

func (x *definitionCase) build(t *testing.T, kind *object.Kind, change map[string]any) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	var base map[string]any
	if err := json.Unmarshal([]byte(plainDefinition), &base); err != nil {
		t.Fatal(err)
	}
	overlay(base["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any), x.Version)
	overlay(base, change)
	data, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	c := &apiextensionsv1.CustomResourceDefinition{}
	if err := json.Unmarshal(data, c); err != nil {
		t.Fatal(err)
	}
	kind.Default(c)
	return c
}

func overlay(into, from map[string]any) {
	for k, v := range from {
		a, ok := into[k].(map[string]any)
		b, ok2 := v.(map[string]any)
		if ok && ok2 && k != "openAPIV3Schema" {
			overlay(a, b)
			continue
		}
		into[k] = v
	}
}

// others are judged in another way on purpose: a version whose schema an update leaves alone is not judged again.
var others = map[string]bool{
	"update: unchanged costly": true, "update: unchanged broken rule": true, "update: unchanged invalid pattern": true, "update: unchanged not structural": true,
	// The password in a URL is not repeated.
	"conversion: query": true,
	// Here the versions of reviews are always judged.
	"update: unknown review versions before": true,
}

// hooked are the texts of what the hook finds wrong.
func hooked(t *testing.T, c *apiextensionsv1.CustomResourceDefinition, old object.Object) []string {
	t.Helper()
	_, _, err := Hook(t.Context(), c, old, false)
	var s *apierrors.StatusError
	if err == nil || !errors.As(err, &s) {
		return nil
	}
	var all []string
	for _, cause := range s.ErrStatus.Details.Causes {
		all = append(all, cause.Field+": "+cause.Message)
	}
	return all
}

// The cases and what is wrong with them are upstream's: what is refused there is refused here, and nothing else.
func TestDefinitionsAreRefusedAsUpstreamRefusesThem(t *testing.T) {
	data, err := os.ReadFile("testdata/definitions.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []definitionCase
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 200 {
		t.Fatal(len(cases), err)
	}
	kind, _ := object.Builtin().Kind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	for _, x := range cases {
		t.Run(x.Name, func(t *testing.T) {
			c := x.build(t, kind, x.CRD)
			var errs field.ErrorList
			var old object.Object
			if x.Old != nil {
				old = x.build(t, kind, x.Old)
				errs = kind.ValidateUpdate(c, old)
			} else {
				errs = kind.Validate(c)
			}
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			if len(errs) == 0 {
				got = hooked(t, c, old)
			}
			slices.Sort(got)
			slices.Sort(x.Want)
			if same := slices.Equal(got, x.Want); same == others[x.Name] {
				t.Errorf("got  %q\nwant %q", got, x.Want)
			}
		})
	}
}

// anyOrder are cases in which upstream visits properties at random.
var anyOrder = map[string]bool{"cost total": true, "id": true, "list type": true, "map type": true}

// What an API server of upstream answered to these definitions: the same fields with the same texts are wrong, in the same order.
func TestDefinitionsAreRefusedInTheSameWords(t *testing.T) {
	data, err := os.ReadFile("testdata/observed.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name string
		CRD  *apiextensionsv1.CustomResourceDefinition
		Want []string
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 100 {
		t.Fatal(len(cases), err)
	}
	kind, _ := object.Builtin().Kind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	for _, x := range cases {
		t.Run(x.Name, func(t *testing.T) {
			kind.Default(x.CRD)
			kind.PrepareCreate(x.CRD)
			var got []string
			for _, e := range kind.Validate(x.CRD) {
				got = append(got, e.Error())
			}
			if len(got) == 0 {
				got = hooked(t, x.CRD, nil)
			}
			if anyOrder[x.Name] {
				slices.Sort(got)
				slices.Sort(x.Want)
			}
			if !slices.Equal(got, x.Want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(x.Want, "\n"))
			}
		})
	}
}

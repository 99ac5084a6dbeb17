package crd

import (
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A format that nobody knows is warned of when it appears, in whichever version, and not again.
func TestUnknownFormatsAreWarnedOfOnce(t *testing.T) {
	definition := func(formats ...string) *apiextensionsv1.CustomResourceDefinition {
		c := &apiextensionsv1.CustomResourceDefinition{}
		for i, f := range formats {
			root := &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": {Type: "string", Format: f}}}
			c.Spec.Versions = append(c.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{Name: string(rune('a' + i)), Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: root}})
		}
		return c
	}
	for _, test := range []struct {
		now, before *apiextensionsv1.CustomResourceDefinition
		want        []string
	}{
		{definition("foo", "date", "foo"), nil, []string{`unrecognized format "foo"`}},
		{definition("foo"), definition("foo"), nil},
		{definition("bar", "foo"), definition("foo", "date"), []string{`unrecognized format "bar"`}},
		{definition("date"), definition("foo"), nil},
	} {
		if got := newUnknownFormats(test.now, test.before); !slices.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}

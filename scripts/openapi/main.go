//go:build ignore

// Openapi packs the generated OpenAPI definitions of the built-in kinds as compressed JSON: openapi OUTPUT. It is run by
// scripts/build-openapi, which first generates the package that it imports.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	generated "hyperkube/build/openapi"
	"hyperkube/internal/object"
)

// everyGroup are the versions that upstream's server knows, served or not, each of which has options of deletion and events of
// watches of its own.
const everyGroup = `:v1 admission.k8s.io:v1,v1beta1 admissionregistration.k8s.io:v1,v1alpha1,v1beta1 apiextensions.k8s.io:v1,v1beta1
apiregistration.k8s.io:v1,v1beta1 apps:v1,v1beta1,v1beta2 authentication.k8s.io:v1,v1alpha1,v1beta1
authorization.k8s.io:v1,v1beta1 autoscaling:v1,v2 batch:v1,v1beta1 certificates.k8s.io:v1,v1alpha1,v1beta1
coordination.k8s.io:v1,v1alpha2,v1beta1 discovery.k8s.io:v1,v1beta1 events.k8s.io:v1,v1beta1 extensions:v1beta1
flowcontrol.apiserver.k8s.io:v1,v1beta1,v1beta2,v1beta3 imagepolicy.k8s.io:v1alpha1
internal.apiserver.k8s.io:v1alpha1 lifecycle.k8s.io:v1alpha1 networking.k8s.io:v1,v1beta1
node.k8s.io:v1,v1alpha1,v1beta1 policy:v1,v1beta1 rbac.authorization.k8s.io:v1,v1alpha1,v1beta1
resource.k8s.io:v1,v1alpha3,v1beta1,v1beta2 scheduling.k8s.io:v1,v1alpha3,v1beta1
storage.k8s.io:v1,v1alpha1,v1beta1 storagemigration.k8s.io:v1,v1beta1`

const metaModels = "io.k8s.apimachinery.pkg.apis.meta.v1."

func main() {
	if err := pack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func pack(output string) error {
	var names []string
	for model := range generated.GetOpenAPIDefinitions(func(path string) spec.Ref { return spec.MustCreateRef("#/" + path) }) {
		names = append(names, model)
	}
	sort.Strings(names)
	kinds := kindsByModel()
	// A document of version 3 is of one group: the server adds its own.
	for _, kind := range []string{"DeleteOptions", "WatchEvent"} {
		kinds[metaModels+kind] = kinds[metaModels+kind][:1]
	}
	v3, err := builder3.BuildOpenAPIDefinitionsForResources(&common.OpenAPIV3Config{
		GetDefinitions: generated.GetOpenAPIDefinitions, GetDefinitionName: namer(kinds),
	}, names...)
	if err != nil {
		return err
	}
	for _, kind := range []string{"DeleteOptions", "WatchEvent"} {
		kinds[metaModels+kind] = inEveryGroup(kind)
	}
	v2, err := builder.BuildOpenAPIDefinitionsForResources(&common.Config{
		GetDefinitions: generated.GetOpenAPIDefinitions, GetDefinitionName: namer(kinds),
	}, names...)
	if err != nil {
		return err
	}
	for name, s := range v2.Definitions {
		withoutDefaults(&s)
		v2.Definitions[name] = s
	}
	data, err := json.Marshal(map[string]any{"v2": v2.Definitions, "v3": v3})
	if err != nil {
		return err
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	return os.WriteFile(output, w.EncodeAll(data, nil), 0o644)
}

func namer(kinds map[string][]map[string]string) func(string) (string, spec.Extensions) {
	return func(model string) (string, spec.Extensions) {
		if k := kinds[model]; k != nil {
			return model, spec.Extensions{"x-kubernetes-group-version-kind": k}
		}
		return model, nil
	}
}

func inEveryGroup(kind string) []map[string]string {
	var all []map[string]string
	for _, group := range strings.Fields(everyGroup) {
		name, versions, _ := strings.Cut(group, ":")
		for _, v := range strings.Split(versions, ",") {
			all = append(all, map[string]string{"group": name, "version": v, "kind": kind})
		}
	}
	return all
}

// withoutDefaults takes out what documents of version 2 do not have.
func withoutDefaults(s *spec.Schema) {
	s.Default = nil
	for name, p := range s.Properties {
		withoutDefaults(&p)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		withoutDefaults(s.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		withoutDefaults(s.AdditionalProperties.Schema)
	}
}

// kindsByModel gives the kinds that a Go type is served as, in order.
func kindsByModel() map[string][]map[string]string {
	named := reflect.TypeFor[interface{ OpenAPIModelName() string }]()
	byModel := map[string][]schema.GroupVersionKind{}
	for gvk, t := range object.Scheme().AllKnownTypes() {
		if gvk.Version == "__internal" || !t.Implements(named) {
			continue
		}
		model := reflect.Zero(t).Interface().(interface{ OpenAPIModelName() string }).OpenAPIModelName()
		byModel[model] = append(byModel[model], gvk)
	}
	out := map[string][]map[string]string{}
	for model, gvks := range byModel {
		sort.Slice(gvks, func(i, j int) bool { return gvks[i].String() < gvks[j].String() })
		for _, k := range gvks {
			out[model] = append(out[model], map[string]string{"group": k.Group, "version": k.Version, "kind": k.Kind})
		}
	}
	return out
}

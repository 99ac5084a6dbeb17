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

	"github.com/klauspost/compress/zstd"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	generated "hyperkube/build/openapi"
	"hyperkube/internal/object"
)

func main() {
	if err := pack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func pack(output string) error {
	kinds := kindsByModel()
	name := func(model string) (string, spec.Extensions) {
		if k := kinds[model]; k != nil {
			return model, spec.Extensions{"x-kubernetes-group-version-kind": k}
		}
		return model, nil
	}
	var names []string
	for model := range generated.GetOpenAPIDefinitions(func(path string) spec.Ref { return spec.MustCreateRef("#/" + path) }) {
		names = append(names, model)
	}
	sort.Strings(names)
	v2, err := builder.BuildOpenAPIDefinitionsForResources(&common.Config{
		GetDefinitions: generated.GetOpenAPIDefinitions, GetDefinitionName: name,
	}, names...)
	if err != nil {
		return err
	}
	v3, err := builder3.BuildOpenAPIDefinitionsForResources(&common.OpenAPIV3Config{
		GetDefinitions: generated.GetOpenAPIDefinitions, GetDefinitionName: name,
	}, names...)
	if err != nil {
		return err
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

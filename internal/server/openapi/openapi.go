// Package openapi describes what the server serves: /openapi/v3, one document for each group and version, and
// /openapi/v2, all in one.
//
// Schemas of built-in kinds are generated from the Go types (schemas.json.zst, made by scripts/build-openapi); paths and
// parameters are derived from the rows of the object table. A document is built when somebody asks for its content, and
// kept for a while. Its hash (?hash= in the index, ETags) is made of the rows that the document describes, so that a
// new custom resource costs its own description, and clients that know a hash do not make the server build anything.
package openapi

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:embed schemas.json.zst
var schemasFile []byte

// kindExtension tells which kinds of the API a model or an operation is about.
const kindExtension = "x-kubernetes-group-version-kind"

// schemas are those of the built-in kinds by model name, as JSON.
type schemas struct {
	V2 map[string]json.RawMessage `json:"v2"`
	V3 map[string]json.RawMessage `json:"v3"`
}

var load = sync.OnceValues(func() (*schemas, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := r.DecodeAll(schemasFile, nil)
	if err != nil {
		return nil, fmt.Errorf("unpacking the OpenAPI schemas: %w", err)
	}
	var s schemas
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI schemas: %w", err)
	}
	return &s, nil
})

var reference = regexp.MustCompile(`"\$ref":"#/(?:components/schemas|definitions)/([^"]+)"`)

// reachable gives the schemas that the named ones need, themselves included.
func reachable(find func(string) (json.RawMessage, bool), names []string) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	todo := slices.Clone(names)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if out[name] != nil {
			continue
		}
		schema, ok := find(name)
		if !ok {
			return nil, fmt.Errorf("there is no OpenAPI schema of %s: run scripts/build-openapi", name)
		}
		out[name] = schema
		for _, m := range reference.FindAllSubmatch(schema, -1) {
			todo = append(todo, string(m[1]))
		}
	}
	return out, nil
}

// notShared are groups whose servers and callers are apart from the one that upstream serves custom resources with.
var notShared = []string{"admission.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "imagepolicy.k8s.io"}

// shareAll names, for a group of custom resources, the kinds that the options of deletions are in all groups of the API, as
// the document of version 2 does.
func shareAll(models map[string]json.RawMessage) error {
	if models[deleteModel] == nil {
		return nil
	}
	s, err := load()
	if err != nil {
		return err
	}
	var here map[string]json.RawMessage
	var all struct {
		Kinds []struct{ Group, Kind, Version string } `json:"x-kubernetes-group-version-kind"`
	}
	if err := errors.Join(json.Unmarshal(models[deleteModel], &here), json.Unmarshal(s.V2[deleteModel], &all)); err != nil {
		return fmt.Errorf("OpenAPI schema of %s: %w", deleteModel, err)
	}
	var kinds []m
	for _, k := range all.Kinds {
		if !slices.Contains(notShared, k.Group) {
			kinds = append(kinds, kindOf(schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}))
		}
	}
	if here[kindExtension], err = json.Marshal(kinds); err != nil {
		return err
	}
	models[deleteModel], err = json.Marshal(here)
	return err
}

// addShared names the kind that the models which every group has of its own are in the group of a document.
func addShared(models map[string]json.RawMessage, gv schema.GroupVersion) error {
	for model, kind := range map[string]string{deleteModel: "DeleteOptions", watchModel: "WatchEvent"} {
		if models[model] == nil || gv.Group == "" {
			continue
		}
		var s map[string]json.RawMessage
		if err := json.Unmarshal(models[model], &s); err != nil {
			return fmt.Errorf("OpenAPI schema of %s: %w", model, err)
		}
		kinds, err := json.Marshal([]m{kindOf(schema.GroupVersionKind{Version: "v1", Kind: kind}), kindOf(gv.WithKind(kind))})
		if err != nil {
			return err
		}
		s[kindExtension] = kinds
		if models[model], err = json.Marshal(s); err != nil {
			return err
		}
	}
	return nil
}

// Package openapitest holds what upstream's API server of the same release describes in OpenAPI, and tells where other
// documents differ. It is for tests.
//
// upstream.json.zst was fetched from a running kube-apiserver v1.37.2 with nothing but its defaults: all documents below
// /openapi/v3, and /openapi/v2. Beside them are those of custom resources, whose definitions are in definitions.json.
package openapitest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

//go:embed upstream.json.zst
var packed []byte

// Definitions are the custom resource definitions of the documents in Custom, as a list of JSON objects.
//
//go:embed definitions.json
var Definitions []byte

// Documents are those of one server.
type Documents struct {
	V2 map[string]any            `json:"v2"`
	V3 map[string]map[string]any `json:"v3"`
}

// Upstream are the documents of a server without custom resources, and what those add to them.
type Upstream struct {
	Builtin Documents `json:"builtin"`
	Custom  Documents `json:"custom"`
}

// Load unpacks the documents, once. Nobody may change them.
var Load = sync.OnceValues(func() (*Upstream, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := r.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpacking upstream's OpenAPI documents: %w", err)
	}
	var u Upstream
	if err := json.Unmarshal(data, &u); err != nil {
		return nil, fmt.Errorf("reading upstream's OpenAPI documents: %w", err)
	}
	return &u, nil
})

// Differences lists where got is not as want, one line each, by the path within the document. Both are as encoding/json decodes them.
func Differences(path string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return inObjects(path, w, g)
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(w) {
			var all []string
			for i := range w {
				all = append(all, Differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
			}
			return all
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: %s, upstream has %s", path, short(got), short(want))}
}

func inObjects(path string, want, got map[string]any) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[key]; ok {
			all = append(all, Differences(path+" › "+key, want[key], g)...)
		} else {
			all = append(all, fmt.Sprintf("%s › %s is missing: upstream has %s", path, key, short(want[key])))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			all = append(all, fmt.Sprintf("%s › %s is not in upstream's: %s", path, key, short(got[key])))
		}
	}
	return all
}

func short(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(data) > 200 {
		return string(data[:200]) + "…"
	}
	return string(data)
}

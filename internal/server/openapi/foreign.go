package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Foreign is what other API servers, which are part of this one, add.
type Foreign interface {
	// Tag changes with the content; empty: there is none.
	Tag() string
	// V2 are the documents that go into version 2; they must not be changed.
	V2() []*spec.Swagger
	// V3 are the paths of their documents below /openapi/v3/, and where to ask for them.
	V3() map[string]string
	// ServeV3 answers with such a document; false: there is none by the path.
	ServeV3(path string, w http.ResponseWriter, r *http.Request) bool
}

// allTag is the ETag of what all groups are in, the foreign ones too.
func (o *OpenAPI) allTag(all []*group) string {
	own := sum(all)
	if o.foreign != nil {
		if other := o.foreign.Tag(); other != "" {
			return own + "-" + other
		}
	}
	return own
}

// whole is the document of version 2 with those of the other servers merged in. Definitions of theirs that are called like others of ours,
// and are not the same, get new names.
func (o *OpenAPI) whole(all []*group) ([]byte, error) {
	own, err := o.v2(all)
	if err != nil || o.foreign == nil {
		return own, err
	}
	others := o.foreign.V2()
	if len(others) == 0 {
		return own, nil
	}
	var doc spec.Swagger
	if err := json.Unmarshal(own, &doc); err != nil {
		return nil, err
	}
	for _, other := range others {
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(&doc, other); err != nil {
			return nil, fmt.Errorf("merging another server's document: %w", err)
		}
	}
	return json.Marshal(&doc)
}

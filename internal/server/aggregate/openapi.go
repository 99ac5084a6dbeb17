package aggregate

import (
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Tag changes with what the others say of themselves; empty: there are no others.
func (a *Aggregator) Tag() string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.tag
}

// V3 are the OpenAPI v3 documents of the others: their paths below /openapi/v3/, and where to ask for them.
func (a *Aggregator) V3() map[string]string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := map[string]string{}
	for gv, r := range a.remotes {
		if r.available && r.said.v3 != "" {
			all[openAPIPath(gv)] = r.said.v3
		}
	}
	return all
}

// ServeV3 passes a request for one of those documents on; false: there is none.
func (a *Aggregator) ServeV3(path string, w http.ResponseWriter, r *http.Request) bool {
	gv, ok := groupVersion(path)
	return ok && a.pass(gv, w, r)
}

// V2 are the parts of the others' OpenAPI v2 documents that are about their group versions. They must not be changed.
func (a *Aggregator) V2() []*spec.Swagger {
	a.mu.RLock()
	docs := map[schema.GroupVersion]*spec.Swagger{}
	for gv, r := range a.remotes {
		if r.said.v2 != nil {
			docs[gv] = r.said.v2
		}
	}
	a.mu.RUnlock()
	var all []*spec.Swagger
	for gv, doc := range docs {
		all = append(all, aggregator.FilterSpecByPathsWithoutSideEffects(doc, []string{"/" + openAPIPath(gv) + "/"}))
	}
	return all
}

package contract

import (
	"encoding/json"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func documents(t *testing.T, s *suite) {
	data, err := s.c.OpenAPI(s.ctx, schema.GroupVersion{Group: "apps", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(data, &doc); err != nil || doc.Components.Schemas["io.k8s.api.apps.v1.Deployment"] == nil {
		t.Errorf("no schema of deployments among %d: %v", len(doc.Components.Schemas), err)
	}
	_, err = s.c.OpenAPI(s.ctx, schema.GroupVersion{Group: "nonsense.example.com", Version: "v1"})
	s.want(err, apierrors.IsNotFound, "the document of a group that is not there")
}

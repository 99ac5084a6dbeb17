package apiserver

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestRuntimeConfig(t *testing.T) {
	hpa1 := schema.GroupVersionResource{Group: "autoscaling", Version: "v1", Resource: "horizontalpodautoscalers"}
	for _, c := range []struct {
		set    []string
		gvr    schema.GroupVersionResource
		served bool
		fails  bool
	}{
		{nil, hpa1, true, false},
		{[]string{"apps/v1=false"}, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, false, false},
		{[]string{"api/all=false,apps/v1"}, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, true, false},
		{[]string{"api/all=false"}, schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, false, false},
		{[]string{"api/all=false"}, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, true, false},
		{set: []string{"nobody.example.com/v1=true"}, fails: true},
		{set: []string{"apps/v1=maybe"}, fails: true},
	} {
		table, err := servedTable(c.set)
		if (err != nil) != c.fails {
			t.Errorf("%v: %v", c.set, err)
		}
		if err != nil {
			continue
		}
		if k, v := table.Resource(c.gvr); (k != nil && v != nil) != c.served {
			t.Errorf("%v: %s served: %v", c.set, c.gvr, k != nil)
		}
	}
}

package server_test

import (
	"strings"
	"testing"

	"hyperkube/internal/server/servertest"
)

// TestScraped has the metrics that dashboards and alerts are made of say what was done.
func TestScraped(t *testing.T) {
	api := servertest.Start(t, nil)
	throw(api, "POST", "/api/v1/namespaces/default/configmaps", "Content-Type: application/json", []byte(`{"metadata":{"name":"scraped"}}`))
	throw(api, "GET", "/api/v1/namespaces/default/configmaps", "Accept: application/json", nil)
	body := throw(api, "GET", "/metrics", "Accept: text/plain", nil).Body.String()
	created := `{component="apiserver",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`
	listed := `{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"} 1`
	for _, want := range []string{
		"apiserver_request_sli_duration_seconds_count" + created, "apiserver_request_sli_duration_seconds_count" + listed, "apiserver_response_sizes_count" + listed,
		`apiserver_resource_objects{group="",resource="configmaps"} 1`, `go_sched_gomaxprocs_threads `, `go_gc_cycles_total_gc_cycles_total `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

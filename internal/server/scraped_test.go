package server_test

import (
	"strings"
	"testing"

	"hyperkube/internal/server/servertest"
)

// TestScraped has the metrics that dashboards and alerts are made of say what was done.
func TestScraped(t *testing.T) {
	api := servertest.Start(t, nil)
	throw(api, "GET", "/api/v1/namespaces/default/configmaps/none", "Accept: application/json", nil) // fills the cache
	throw(api, "POST", "/api/v1/namespaces/default/configmaps", "Content-Type: application/json", []byte(`{"metadata":{"name":"scraped"}}`))
	throw(api, "GET", "/api/v1/namespaces/default/configmaps", "Accept: application/json", nil)
	throw(api, "GET", "/api/v1/namespaces/default/endpoints/none", "Accept: application/json", nil)
	throw(api, "GET", "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "Accept: application/json", nil)
	body := throw(api, "GET", "/metrics", "Accept: text/plain", nil).Body.String()
	created := `{component="apiserver",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`
	listed := `{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"} 1`
	for _, want := range []string{
		"apiserver_request_sli_duration_seconds_count" + created, "apiserver_request_sli_duration_seconds_count" + listed, "apiserver_response_sizes_count" + listed,
		`apiserver_watch_events_total{group="",resource="configmaps",version="v1"} 2`, `apiserver_watch_list_duration_seconds_count{group="",resource="configmaps",scope="namespace",version="v1"} 1`,
		`apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1`, `apiserver_request_body_size_bytes_sum{group="",resource="configmaps",verb="create"} 31`,
		`etcd_requests_total{group="",operation="create",resource="configmaps"} 1`, `etcd_request_duration_seconds_count{group="",operation="create",resource="configmaps"} 1`,
		`apiserver_storage_list_total{group="",index="",resource="configmaps",storage="watchcache"} 1`, `apiserver_storage_list_returned_objects_total{group="",index="",resource="configmaps",storage="watchcache"} 1`,
		`apiserver_watch_cache_consistent_read_total{fallback="false",group="",resource="configmaps",success="true"} `, `apiserver_watch_cache_initializations_total{group="",resource="configmaps"} 1`,
		`apiserver_storage_events_received_total{group="",resource="configmaps"} 1`, `apiserver_watch_cache_events_dispatched_total{group="",resource="configmaps"} 1`, `apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} `,
		`apiserver_resource_objects{group="",resource="configmaps"} 1`, `go_sched_gomaxprocs_threads `, `go_gc_cycles_total_gc_cycles_total `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

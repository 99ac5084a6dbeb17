package request

import (
	"net/http/httptest"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		method, url string
		want        Info
	}{
		{"GET", "/healthz", Info{Verb: "get", Path: "/healthz"}},
		{"POST", "/apis", Info{Verb: "post", Path: "/apis", APIPrefix: "apis"}},
		{"GET", "/apis/apps/v1", Info{Verb: "get", Path: "/apis/apps/v1", APIPrefix: "apis", APIGroup: "apps", APIVersion: "v1"}},
		{"GET", "/apis/apps/v1/", Info{Verb: "get", Path: "/apis/apps/v1/", APIPrefix: "apis", APIGroup: "apps", APIVersion: "v1"}},
		{"GET", "/api/v1/pods", Info{IsResourceRequest: true, Verb: "list", APIPrefix: "api", APIVersion: "v1", Resource: "pods"}},
		{"GET", "/api/v1/pods?watch=true&labelSelector=a%3Db", Info{IsResourceRequest: true, Verb: "watch", APIPrefix: "api", APIVersion: "v1", Resource: "pods", LabelSelector: "a=b"}},
		{"GET", "/api/v1/pods?watch=false", Info{IsResourceRequest: true, Verb: "list", APIPrefix: "api", APIVersion: "v1", Resource: "pods"}},
		{"GET", "/api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Dp", Info{IsResourceRequest: true, Verb: "list", APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "pods", Name: "p", FieldSelector: "metadata.name=p"}},
		{"GET", "/api/v1/watch/namespaces/n/pods/p", Info{IsResourceRequest: true, Verb: "watch", WatchPath: true, APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "pods", Name: "p"}},
		{"PUT", "/api/v1/namespaces/n/pods/p/status", Info{IsResourceRequest: true, Verb: "update", APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "pods", Name: "p", Subresource: "status"}},
		{"GET", "/api/v1/namespaces/n/services/s:80/proxy/a/b/", Info{IsResourceRequest: true, Verb: "get", APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "services", Name: "s:80", Subresource: "proxy", Tail: "a/b/"}},
		{"GET", "/api/v1/namespaces", Info{IsResourceRequest: true, Verb: "list", APIPrefix: "api", APIVersion: "v1", Resource: "namespaces"}},
		{"DELETE", "/api/v1/namespaces/n", Info{IsResourceRequest: true, Verb: "delete", APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "namespaces", Name: "n"}},
		{"PUT", "/api/v1/namespaces/n/finalize", Info{IsResourceRequest: true, Verb: "update", APIPrefix: "api", APIVersion: "v1", Namespace: "n", Resource: "namespaces", Name: "n", Subresource: "finalize"}},
		{"DELETE", "/apis/apps/v1/namespaces/n/deployments", Info{IsResourceRequest: true, Verb: "deletecollection", APIPrefix: "apis", APIGroup: "apps", APIVersion: "v1", Namespace: "n", Resource: "deployments"}},
		{"HEAD", "/api/v1/nodes/x", Info{IsResourceRequest: true, Verb: "get", APIPrefix: "api", APIVersion: "v1", Resource: "nodes", Name: "x"}},
	} {
		got := Parse(httptest.NewRequest(c.method, c.url, nil))
		if c.want.Path == "" {
			c.want.Path = got.Path
		}
		if got != c.want {
			t.Errorf("%s %s:\n got %+v\nwant %+v", c.method, c.url, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("GET", "/api/v1/namespaces/n/pods/p/status")
	f.Add("DELETE", "/apis//v1/watch/")
	f.Fuzz(func(t *testing.T, method, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, "watch=1&fieldSelector=metadata.name="+path
		Parse(r)
	})
}

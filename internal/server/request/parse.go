package request

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/fields"
)

// Parse reads what a request is about from its method, path and query:
//
//	/api/v1/[watch/]<resource>[/<name>[/<subresource>[/<tail>]]]
//	/api/v1/[watch/]namespaces/<namespace>/<resource>[/<name>[/<subresource>[/<tail>]]]
//	/apis/<group>/<version>/…
//
// /namespaces/<name>/status and /finalize are subresources of the namespace itself. Anything else is not a request
// for a resource. It reports no errors: what it does not understand is left for the router to refuse.
func Parse(r *http.Request) Info {
	info := Info{Verb: strings.ToLower(r.Method), Path: r.URL.Path}
	rest := strings.TrimPrefix(r.URL.Path, "/")
	prefix, rest, _ := strings.Cut(rest, "/")
	switch prefix {
	case "api":
		info.APIPrefix = prefix
	case "apis":
		info.APIPrefix = prefix
		info.APIGroup, rest, _ = strings.Cut(rest, "/")
	default:
		return info
	}
	info.APIVersion, rest, _ = strings.Cut(rest, "/")
	if rest == "" || info.APIVersion == "" {
		return info
	}
	info.parseResource(r, rest)
	return info
}

func (info *Info) parseResource(r *http.Request, rest string) {
	info.IsResourceRequest = true
	info.Verb = methodVerb(r.Method, info.Verb)
	watching := false
	switch first, tail, ok := strings.Cut(rest, "/"); {
	case ok && first == "watch":
		watching, info.WatchPath, rest = true, true, tail
	case ok && first == "proxy": // paths of old, which nothing serves any more
		info.Verb, rest = "proxy", tail
	}
	if first, tail, ok := strings.Cut(rest, "/"); ok && first == "namespaces" {
		ns, tail, more := strings.Cut(tail, "/")
		info.Namespace = ns
		second, _, _ := strings.Cut(tail, "/")
		if more && tail != "" && second != "status" && second != "finalize" {
			rest = tail
		}
	}
	info.Resource, rest, _ = strings.Cut(rest, "/")
	info.Name, rest, _ = strings.Cut(rest, "/")
	info.Subresource, info.Tail, _ = strings.Cut(rest, "/")
	info.collectionVerb(r.URL.RawQuery, watching)
}

// collectionVerb tells get from list and watch, and delete from deletecollection.
func (info *Info) collectionVerb(rawQuery string, watching bool) {
	if watching && info.Verb == "get" {
		info.Verb = "watch"
	}
	if info.Name == "" {
		switch info.Verb {
		case "get":
			info.Verb = "list"
		case "delete":
			info.Verb = "deletecollection"
		}
	}
	if rawQuery == "" || (info.Verb != "list" && info.Verb != "watch" && info.Verb != "deletecollection") {
		return
	}
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return
	}
	if info.Verb == "list" && truthy(q, "watch") {
		info.Verb = "watch"
	}
	if info.Verb == "list" {
		// What is no number is refused later.
		if n, err := strconv.ParseInt(q.Get("limit"), 10, 64); err == nil && n > 0 {
			info.Limit = n
		}
	}
	info.Select(q.Get("fieldSelector"), q.Get("labelSelector"))
}

// Select notes the selectors of a list, watch or deletecollection.
func (info *Info) Select(fieldSelector, labelSelector string) {
	info.FieldSelector, info.LabelSelector = fieldSelector, labelSelector
	if info.Name != "" || info.FieldSelector == "" {
		return
	}
	// A selector of one name makes it a request for that object in the eyes of authorizers.
	if s, err := fields.ParseSelector(info.FieldSelector); err == nil {
		if name, ok := s.RequiresExactMatch("metadata.name"); ok && len(path.IsValidPathSegmentName(name)) == 0 {
			info.Name = name
		}
	}
}

func truthy(q url.Values, key string) bool {
	v, ok := q[key]
	if !ok {
		return false
	}
	return len(v) == 0 || (v[0] != "false" && v[0] != "0")
}

func methodVerb(method, lower string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return lower
}

package openapi

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// parameter is one of the path or of the query.
type parameter struct {
	name, kind, description string
	path                    bool // required, and in the path
}

// documented is a type of options: it knows the comments of its fields.
type documented interface{ SwaggerDoc() map[string]string }

// options gives the fields of a type of options as parameters of the query, but for those that are left out. What a query
// cannot say (preconditions) and what it says elsewhere (kind and apiVersion) are no parameters.
func options(of documented, without ...string) []parameter {
	t, text := reflect.TypeOf(of), of.SwaggerDoc()
	var all []parameter
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if kind := queryKind(f.Type); name != "" && kind != "" && !slices.Contains(without, name) {
			all = append(all, parameter{name: name, kind: kind, description: text[name]})
		}
	}
	return all
}

// queryKind is the OpenAPI type of a field in a query; empty for what cannot be there. Of a list a query has each element.
func queryKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return queryKind(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "integer"
	}
	return ""
}

// The parameters of each verb.
var (
	createParameters = options(metav1.CreateOptions{})
	updateParameters = options(metav1.UpdateOptions{})
	patchParameters  = options(metav1.PatchOptions{})
	deleteParameters = options(metav1.DeleteOptions{})
	listParameters   = options(metav1.ListOptions{})
	getParameters    = options(metav1.GetOptions{})
	// What is deleted as a collection is listed once, not watched.
	collectionParameters = slices.Concat(deleteParameters, options(metav1.ListOptions{}, "watch", "allowWatchBookmarks"))
	// The query has the command and the stream's names of logs by other rules than the rest; the type says which there are.
	logParameters = options(corev1.PodLogOptions{}, "sinceTime")

	pretty = parameter{name: "pretty", kind: "string", description: "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget)."}

	namespaceInPath = parameter{name: "namespace", kind: "string", path: true, description: "object name and auth scope, such as for teams and projects"}
	restInPath      = parameter{name: "path", kind: "string", path: true, description: "path to the resource"}
)

func nameInPath(kind string) parameter {
	return parameter{name: "name", kind: "string", path: true, description: "name of the " + kind}
}

// connectParameters are the fields of the options of a connection (exec, proxy), by their kind.
func connectParameters(gvk schema.GroupVersionKind) []parameter {
	obj, err := object.Scheme().New(gvk)
	if err != nil {
		return nil
	}
	if of, ok := reflect.ValueOf(obj).Elem().Interface().(documented); ok {
		return options(of)
	}
	return nil
}

func byName(a, b parameter) int {
	if c := cmp.Compare(a.name, b.name); c != 0 || a.path == b.path {
		return c
	}
	if a.path {
		return -1
	}
	return 1
}

// shared splits the parameters of the operations of one path: those that all have, and of each the rest; both sorted.
func shared(ops []*operation) (common []parameter, rest [][]parameter) {
	counts := map[parameter]int{}
	for _, o := range ops {
		for _, p := range o.parameters {
			counts[p]++
		}
	}
	for _, o := range ops {
		var own []parameter
		for _, p := range o.parameters {
			if counts[p] < len(ops) {
				own = append(own, p)
			} else if o == ops[0] {
				common = append(common, p)
			}
		}
		slices.SortFunc(own, byName)
		rest = append(rest, own)
	}
	slices.SortFunc(common, byName)
	return common, rest
}

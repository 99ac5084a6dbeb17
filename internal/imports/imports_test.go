// Package imports holds the walls of the project: which room may use which.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "hyperkube"

// rule forbids packages below from to import packages below target, unless an exception names the importer.
type rule struct {
	from, target string
	except       []string
	why          string
}

var rules = []rule{
	{"internal/", module + "/roles/", nil, "roles stand above internal"},
	{"roles/", module + "/roles/", []string{"roles/up", "roles/kubectl"}, "no role imports another, only up composes them"},
	{"", module + "/internal/store", []string{"internal/server", "internal/store"}, "only the API server reaches the store"},
	{"", "go.etcd.io/etcd/server", []string{"internal/etcd"}, "only internal/etcd embeds the datastore"},
	{"", "github.com/containerd/containerd/", []string{"internal/runtime"}, "only internal/runtime embeds the container runtime"},
	{"", "k8s.io/kubernetes", nil, "upstream's implementation is not part of the product"},
	{"", "k8s.io/apiserver/pkg/server", nil, "the API server is this project's own"},
	{"", "k8s.io/apiserver/pkg/endpoints", nil, "the API server is this project's own"},
	{"", "k8s.io/apiserver/pkg/registry", nil, "the API server is this project's own"},
	{"", "k8s.io/apiserver/pkg/storage", nil, "the store is this project's own"},
	{"", "k8s.io/kube-aggregator/pkg/apiserver", nil, "aggregation is this project's own"},
	{"", "sigs.k8s.io/controller-runtime", nil, "controllers are this project's own"},
	{"internal/object", module + "/internal/", []string{"internal/object"}, "the object model is pure"},
}

func TestImports(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if rel == "build" || rel == ".git" || rel == "e2e" || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || rel == "zz_deps.go" {
			return nil
		}
		files++
		return check(t, root, rel)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("saw only %d files: the test looks in the wrong place", files)
	}
}

func check(t *testing.T, root, rel string) error {
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, rel), nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	dir := filepath.Dir(rel)
	test := strings.HasSuffix(rel, "_test.go")
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if test && strings.HasPrefix(r.target, module) {
				continue // tests may build a whole cluster around their room
			}
			if breaks(r, dir, path) {
				t.Errorf("%s imports %s: %s", rel, path, r.why)
			}
		}
		if c := controllerOf(dir); c != "" && strings.HasPrefix(path, module+"/internal/controllers/") && !test {
			if o := controllerOf(strings.TrimPrefix(path, module+"/")); o != c && !shared[o] {
				t.Errorf("%s imports %s: controllers never import each other", rel, path)
			}
		}
	}
	return nil
}

// shared are the libraries of the controllers, which are not controllers themselves.
var shared = map[string]bool{"podset": true, "replicas": true, "history": true, "ownwrites": true, "serving": true, "taints": true, "csr": true}

func controllerOf(dir string) string {
	rest, ok := strings.CutPrefix(dir, "internal/controllers/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func breaks(r rule, dir, path string) bool {
	if !strings.HasPrefix(dir+"/", r.from) || !strings.HasPrefix(path+"/", strings.TrimSuffix(r.target, "/")+"/") {
		return false
	}
	for _, e := range r.except {
		if dir == e || strings.HasPrefix(dir, e+"/") {
			return false
		}
	}
	return true
}

package object

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
)

type hubObject struct {
	fields.Set
	obj Object
}

func (h hubObject) In(v *Version) (Object, error) { return v.FromHub(h.obj) }

// TestSelectorIn selects by fields that only a converted object has.
func TestSelectorIn(t *testing.T) {
	v := &Version{
		FromHub: func(hub Object) (Object, error) {
			host, port, ok := strings.Cut(hub.(*unstructured.Unstructured).Object["hostPort"].(string), ":")
			if !ok {
				return nil, errors.New("no port")
			}
			out := &unstructured.Unstructured{Object: map[string]any{"host": host, "port": port}}
			out.SetName(hub.GetName())
			return out, nil
		},
		Custom: &Custom{Fields: func(obj Object) fields.Set {
			u := obj.(*unstructured.Unstructured).Object
			return fields.Set{"host": u["host"].(string), "port": u["port"].(string)}
		}},
	}
	hub := func(hostPort string) hubObject {
		u := &unstructured.Unstructured{Object: map[string]any{"hostPort": hostPort}}
		u.SetName("a")
		return hubObject{fields.Set{"metadata.name": "a"}, u}
	}
	for _, c := range []struct {
		selector, hostPort string
		want               bool
	}{
		{"host=h", "h:80", true},
		{"host=h,port=81", "h:80", false},
		{"host!=h", "h:80", false},
		{"port=80,metadata.name=a", "h:80", true},
		{"port=80,metadata.name=b", "h:80", false},
		{"metadata.name=a", "cannot be converted", true},
		{"host=other", "cannot be converted", true},
	} {
		if got := SelectorIn(v, fields.ParseSelectorOrDie(c.selector)).Matches(hub(c.hostPort)); got != c.want {
			t.Errorf("%s of %q: %v", c.selector, c.hostPort, got)
		}
	}
	f := fields.ParseSelectorOrDie("host=h")
	if SelectorIn(v, f).String() == f.String() {
		t.Error("the selectors of two versions cannot be told apart")
	}
}

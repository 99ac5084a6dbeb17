package server

import (
	"testing"

	"hyperkube/internal/server/request"
)

func TestWatchers(t *testing.T) {
	var w watchers
	of := func(verb, namespace, name, fields string) *request.Request {
		return &request.Request{Info: request.Info{IsResourceRequest: true, Verb: verb, Resource: "pods", Namespace: namespace, Name: name, FieldSelector: fields}}
	}
	all := []*request.Request{
		of("watch", "", "", ""), of("watch", "", "", "status.phase=Running"), of("watch", "a", "", ""), of("watch", "a", "x", "metadata.name=x"),
		of("watch", "", "", "spec.nodeName=n1"), of("watch", "", "", "spec.nodeName=n2"), of("watch", "b", "", ""), of("watch", "", "x", "metadata.name=x"), of("get", "a", "x", ""),
	}
	for _, r := range all {
		w.add(r, 1)
	}
	for _, c := range []struct {
		req  *request.Request
		want int
	}{
		{of("update", "a", "x", ""), 6}, {of("create", "a", "", ""), 4}, {of("update", "b", "x", ""), 5}, {of("update", "c", "y", ""), 3},
	} {
		if got := w.told(c.req); got != c.want {
			t.Errorf("%s %s/%s: %d are told, want %d", c.req.Verb, c.req.Namespace, c.req.Name, got, c.want)
		}
	}
	other := of("update", "a", "x", "")
	other.Resource = "secrets"
	if got := w.told(other); got != 0 {
		t.Errorf("of another resource %d are told", got)
	}
	for _, r := range all {
		w.add(r, -1)
	}
	if len(w.by) != 0 {
		t.Errorf("at the end: %v", w.by)
	}
}

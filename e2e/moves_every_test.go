package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestEveryKindMoves has one object of every kind written by one server, and read, changed and written anew by the other, in both
// orders: what the second serves must be what the first did, to the last field, and the first must understand it again.
func TestEveryKindMoves(t *testing.T) {
	h := newHost(t)
	theirs := h.datastore()
	for _, c := range []struct {
		name        string
		first, then func(h *host, flags []string) *process
	}{
		{"from upstream", (&host{bin: theirs}).beside, (*host).ours},
		{"to upstream", (*host).ours, (&host{bin: theirs}).beside},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := h.on(t)
			flags := h.apiserver("--etcd-servers=http://127.0.0.1:2379", "--etcd-prefix=/"+strings.Fields(c.name)[0])
			h.move(func() *process { return c.first(h, flags) }, func() *process { return c.then(h, flags) })
		})
	}
}

func (h *host) ours(flags []string) *process { return h.role("kube-apiserver", flags...) }

// beside starts the program of h on another machine.
func (h *host) beside(on *host, flags []string) *process {
	return start(on.t, on.command(h.bin, flags...))
}

// move lets one server make the objects, the other change them, and the first look at them again.
func (h *host) move(first, then func() *process) {
	t, k := h.t, h.upstream()
	t.Helper()
	p := first()
	h.ready(p)
	k.run("create", "namespace", "a")
	k.run("create", "serviceaccount", "robot", "-n", "a")
	k.feed(everyKind(t), "create", "-f", "-")
	k.run("wait", "--for=condition=Established", "crd/foos.example.com", "--timeout=30s")
	k.feed("apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: f, namespace: a}\nspec: {any: [1, x]}\n", "create", "-f", "-")
	before := h.everything(k)
	p.signal(syscall.SIGTERM)
	p.wait()

	p = then()
	h.ready(p)
	h.same("moved", before, h.everything(k))
	for _, o := range before {
		if o.GetNamespace() == "a" && o.GetKind() != "Event" {
			k.run("label", "--overwrite", "-n", "a", resourceArg(o), "moved=yes")
		}
	}
	changed := h.everything(k)
	p.signal(syscall.SIGTERM)
	p.wait()

	p = first()
	h.ready(p)
	h.same("moved back", changed, h.everything(k))
	p.signal(syscall.SIGTERM)
	p.wait()
}

func resourceArg(o *unstructured.Unstructured) string {
	gvk := o.GroupVersionKind()
	if gvk.Group == "" {
		return strings.ToLower(gvk.Kind) + "/" + o.GetName()
	}
	return strings.TrimSuffix(strings.ToLower(gvk.Kind)+"."+gvk.Version+"."+gvk.Group, ".") + "/" + o.GetName()
}

// everyKind is one object of each stored kind but those that the servers make themselves.
func everyKind(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../internal/object/testdata/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	skip := []string{"kind: Namespace\n", "kind: IPAddress\n", "kind: APIService\n"}
	all := slices.DeleteFunc(strings.Split(string(data), "\n---\n"), func(doc string) bool {
		return slices.ContainsFunc(skip, func(kind string) bool { return strings.Contains(doc, kind) })
	})
	return strings.Join(all, "\n---\n")
}

// everything is all that there is, by kind, namespace and name, but for what each server writes for itself all the time.
func (h *host) everything(k kubectl) map[string]*unstructured.Unstructured {
	h.t.Helper()
	own := []string{"leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "apiservices.apiregistration.k8s.io", "componentstatuses",
		"flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "servicecidrs.networking.k8s.io"}
	names := slices.DeleteFunc(strings.Fields(k.run("api-resources", "--verbs=list", "-o", "name")), func(n string) bool { return slices.Contains(own, n) })
	names = append(names, "horizontalpodautoscalers.v1.autoscaling", "events.v1.events.k8s.io")
	if len(names) < 55 {
		h.t.Errorf("only %d kinds: %v", len(names), names)
	}
	var l struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(k.run("get", strings.Join(names, ","), "-A", "-o", "json")), &l); err != nil {
		h.t.Fatal(err)
	}
	all := map[string]*unstructured.Unstructured{}
	for _, item := range l.Items {
		o := &unstructured.Unstructured{Object: item}
		if o.GetLabels()["kubernetes.io/bootstrapping"] != "" || o.GetName() == "extension-apiserver-authentication" {
			continue // each server adds to these what it is used to
		}
		all[o.GetAPIVersion()+" "+o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o
	}
	return all
}

// same fails the test where an object of before is not there any more, or is another.
func (h *host) same(what string, before, after map[string]*unstructured.Unstructured) {
	h.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		o := after[name]
		if o == nil {
			h.t.Errorf("%s: %s is gone", what, name)
			continue
		}
		want, got := text(before[name]), text(o)
		if want != got {
			h.t.Errorf("%s: %s was\n%s\nand is\n%s", what, name, want, got)
		}
	}
}

func text(o *unstructured.Unstructured) string {
	data, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

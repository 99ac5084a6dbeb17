package verdicts

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
)

// subject is one object of a file of testdata/requests and what is asked about it.
type subject struct {
	// Object is sent to be created as it is and varied.
	Object map[string]any `json:"object"`
	// Within, where it is set, is the only part that is varied.
	Within string `json:"within"`
	// Setup objects are created first and stay.
	Setup []map[string]any `json:"setup"`
	// Creates and Updates are variations by hand.
	Creates []variation `json:"creates"`
	Updates []variation `json:"updates"`
	// Parts are variations by hand of updates through a subresource.
	Parts map[string][]variation `json:"parts"`
	// Patches of the object, once created: media type (json, merge, strategic, apply) and body.
	Patches []struct {
		Type string `json:"type"`
		Part string `json:"part"`
		Body any    `json:"body"`
	} `json:"patches"`
	// CreateOnly subjects are not created in earnest, so that nothing can be updated.
	CreateOnly bool `json:"createOnly"`
	// Quiet subjects are varied by hand alone.
	Quiet bool `json:"quiet"`
}

// exchange is one request and, once recorded, its answer.
type exchange struct {
	Name   string          `json:"name"`
	Method string          `json:"method"`
	Path   string          `json:"path"`
	Type   string          `json:"type,omitempty"` // of the body, JSON where it is empty
	Body   json.RawMessage `json:"body,omitempty"`
	// Answer, after what differs from server to server was taken out.
	Code     int             `json:"code"`
	Warnings []string        `json:"warnings,omitempty"`
	Answer   json.RawMessage `json:"answer"`
}

// revision stands in a request for the resourceVersion that the last write in earnest gave.
const revision = "@revision"

func readSubjects(file string) ([]subject, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []subject
	if err := yaml.UnmarshalStrict(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

// requests are all that a subject is asked, in order.
type requests struct {
	table *object.Table
	all   []exchange
}

func (r *requests) add(name, method, path, media string, body any) error {
	e := exchange{Name: name, Method: method, Path: path, Type: media}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		e.Body = data
	}
	r.all = append(r.all, e)
	return nil
}

// place gives the row and the paths of an object: of its list and its own.
func (r *requests) place(obj map[string]any) (k *object.Kind, v *object.Version, list, own string, err error) {
	gv, _ := obj["apiVersion"].(string)
	kind, _ := obj["kind"].(string)
	k, v = r.table.Kind(schema.FromAPIVersionAndKind(gv, kind))
	if v == nil {
		return nil, nil, "", "", fmt.Errorf("no kind %s %s", gv, kind)
	}
	root := "/apis/" + gv
	if v.Group == "" {
		root = "/api/" + gv
	}
	meta, _ := obj["metadata"].(map[string]any)
	if k.Scope == object.Namespaced {
		ns, _ := meta["namespace"].(string)
		if ns == "" {
			ns = "ns"
		}
		root += "/namespaces/" + ns
	}
	name, _ := meta["name"].(string)
	return k, v, root + "/" + k.Resource, root + "/" + k.Resource + "/" + name, nil
}

const dry = "?dryRun=All"

func (r *requests) subject(n int, s subject) error {
	for _, o := range s.Setup {
		_, _, list, _, err := r.place(o)
		if err != nil {
			return err
		}
		if err := r.add("setup", "POST", list, "", o); err != nil {
			return err
		}
	}
	if s.Object == nil {
		return nil
	}
	k, v, list, own, err := r.place(s.Object)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s %d", v.Kind, n)
	var all []variation
	if !s.Quiet {
		for _, x := range vary(reflect.TypeOf(v.New()).Elem(), s.Object) {
			for p := range x {
				if strings.HasPrefix(p, s.Within) {
					all = append(all, x)
				}
			}
		}
	}
	if err := r.creates(title, list, k, s, all); err != nil || s.CreateOnly || k.Virtual {
		return err
	}
	return r.updates(title, list, own, k, s, all)
}

// creates asks whether the object and its variations may be created.
func (r *requests) creates(title, list string, k *object.Kind, s subject, all []variation) error {
	variations := []variation{{}}
	if s.Within == "" && !s.Quiet {
		variations = append(variations, varyMeta(k.Scope == object.Namespaced)...)
	}
	variations = append(append(variations, all...), s.Creates...)
	for _, x := range variations {
		if of(x, "/status") && k.Subresource("status") != nil {
			continue // a create drops it
		}
		if err := r.vary(title+" create ", "POST", list+dry, s.Object, x); err != nil {
			return err
		}
	}
	return nil
}

// of says whether a variation changes something below a path.
func of(x variation, path string) bool {
	for p := range x {
		if strings.HasPrefix(p, path) {
			return true
		}
	}
	return false
}

func (r *requests) vary(title, method, path string, obj map[string]any, x variation) error {
	body, err := x.apply(obj)
	if err != nil {
		return err
	}
	return r.add(title+x.String(), method, path, "", body)
}

// updates creates the object and asks how it may be changed.
func (r *requests) updates(title, list, own string, k *object.Kind, s subject, all []variation) error {
	if err := r.add(title+" created", "POST", list, "", s.Object); err != nil {
		return err
	}
	base := runtime.DeepCopyJSON(s.Object)
	base["metadata"].(map[string]any)["resourceVersion"] = revision
	_, hasStatus := s.Object["status"]
	status := k.Subresource("status") != nil
	if status && hasStatus {
		if err := r.add(title+" status written", "PUT", own+"/status", "", base); err != nil {
			return err
		}
	}
	variations := []variation{{}}
	if s.Within == "" && !s.Quiet {
		variations = append(variations, varyMeta(k.Scope == object.Namespaced)...)
	}
	for _, x := range append(append(variations, all...), s.Updates...) {
		if status && of(x, "/status") {
			continue
		}
		if err := r.vary(title+" update ", "PUT", own+dry, base, x); err != nil {
			return err
		}
	}
	if status {
		changes := []variation{{}, {"/metadata/labels": map[string]any{"x": "y"}}, {"/metadata/labels": map[string]any{"x": "y!"}}, {"/spec": nil}, {"/metadata/resourceVersion": nil}}
		for _, x := range all {
			if of(x, "/status") {
				changes = append(changes, x)
			}
		}
		for _, x := range append(changes, s.Parts["status"]...) {
			if err := r.vary(title+" status ", "PUT", own+"/status"+dry, base, x); err != nil {
				return err
			}
		}
	}
	for _, part := range k.Subresources {
		for _, x := range s.Parts[part.Name] {
			if part.Name == "status" {
				continue
			}
			if err := r.vary(title+" "+part.Name+" ", "PUT", own+"/"+part.Name+dry, base, x); err != nil {
				return err
			}
		}
	}
	for _, p := range s.Patches {
		path := own
		if p.Part != "" {
			path += "/" + p.Part
		}
		path += dry
		if p.Type == "apply" {
			path += "&fieldManager=m&force=true"
		}
		data, err := json.Marshal(p.Body)
		if err != nil {
			return err
		}
		if err := r.add(title+" "+p.Type+" patch "+p.Part+" "+string(data), "PATCH", path, p.Type, p.Body); err != nil {
			return err
		}
	}
	return r.add(title+" deleted", "DELETE", own, "", map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
}

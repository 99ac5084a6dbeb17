package crd

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/jsonpath"

	"hyperkube/internal/object"
)

// columns prints a version's objects: their name, and the columns of the definition or the age.
func columns(v *apiextensionsv1.CustomResourceDefinitionVersion) ([]metav1.TableColumnDefinition, func(object.Object, time.Time) []any, error) {
	docs := metav1.ObjectMeta{}.SwaggerDoc()
	defs := []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: docs["name"]}}
	list := v.AdditionalPrinterColumns
	if len(list) == 0 {
		list = []apiextensionsv1.CustomResourceColumnDefinition{{Name: "Age", Type: "date", Description: docs["creationTimestamp"], JSONPath: ".metadata.creationTimestamp"}}
	}
	paths := make([]*jsonpath.JSONPath, len(list))
	for i, c := range list {
		p := jsonpath.New(c.Name)
		if err := p.Parse("{" + c.JSONPath + "}"); err != nil {
			return nil, nil, fmt.Errorf("printer column %s of version %s: %w", c.Name, v.Name, err)
		}
		paths[i] = p.AllowMissingKeys(true)
		description := c.Description
		if description == "" {
			description = "Custom resource definition column (in JSONPath format): " + c.JSONPath
		}
		defs = append(defs, metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: description, Priority: c.Priority})
	}
	var mu sync.Mutex // a parsed path keeps state while it is followed
	return defs, func(obj object.Object, now time.Time) []any {
		mu.Lock()
		defer mu.Unlock()
		row := []any{obj.GetName()}
		u, ok := obj.(*unstructured.Unstructured)
		for i := range paths {
			if !ok {
				row = append(row, nil)
				continue
			}
			row = append(row, cell(paths[i], list[i].Type, u.Object, now))
		}
		return row
	}, nil
}

// cell is one value in the type of its column; nil where there is none or one of another type.
func cell(p *jsonpath.JSONPath, kind string, content map[string]any, now time.Time) any {
	results, err := p.FindResults(content)
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return nil
	}
	value := results[0][0].Interface()
	if kind == "string" {
		var b bytes.Buffer
		if p.PrintResults(&b, []reflect.Value{reflect.ValueOf(value)}) != nil {
			return nil
		}
		return b.String()
	}
	return inType(value, kind, now)
}

func inType(value any, kind string, now time.Time) any {
	switch kind {
	case "integer":
		switch n := value.(type) {
		case int64:
			return n
		case float64:
			return int64(n)
		}
	case "number":
		switch n := value.(type) {
		case int64:
			return float64(n)
		case float64:
			return n
		}
	case "boolean":
		if b, ok := value.(bool); ok {
			return b
		}
	case "date":
		if text, ok := value.(string); ok {
			var t metav1.Time
			if t.UnmarshalQueryParameter(text) != nil || t.IsZero() {
				return "<invalid>"
			}
			return duration.HumanDuration(now.Sub(t.Time))
		}
	}
	return nil
}

// selected gives the values of selectable fields as a field selector compares them.
func selected(content map[string]any, path []string) string {
	switch v := at(content, path).(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

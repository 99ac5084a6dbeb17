// Package config reads configuration files strictly: what a file says and the program does not know,
// or knows as another type, is an error that names the field and the file.
package config

import (
	"errors"
	"fmt"
	"os"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// LoadFile reads a YAML or JSON file into a value. Unknown and duplicate fields and wrong types are errors.
func LoadFile(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	if err := Decode(data, into); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// LoadKind reads a file that must be of one kind of a versioned configuration API. alike are other versions of it that have the same fields.
func LoadKind(path string, gvk schema.GroupVersionKind, into any, alike ...string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	var t metav1.TypeMeta
	if err := yaml.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	if got := t.GroupVersionKind(); got.GroupKind() != gvk.GroupKind() || got.Version != gvk.Version && !slices.Contains(alike, got.Version) {
		return fmt.Errorf("configuration file %s: it is of apiVersion %q, kind %q; wanted apiVersion %q, kind %q",
			path, t.APIVersion, t.Kind, gvk.GroupVersion(), gvk.Kind)
	}
	if err := Decode(data, into); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// Decode reads YAML or JSON strictly.
func Decode(data []byte, into any) error {
	if len(data) == 0 {
		return errors.New("it is empty")
	}
	return yaml.UnmarshalStrict(data, into)
}

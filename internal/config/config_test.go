package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type sample struct {
	metav1.TypeMeta `json:",inline"`
	Port            int `json:"port"`
}

func TestLoadKind(t *testing.T) {
	gvk := schema.GroupVersionKind{Group: "g", Version: "v1", Kind: "Sample"}
	head := "apiVersion: g/v1\nkind: Sample\n"
	for name, c := range map[string]struct{ text, want string }{
		"good":          {head + "port: 5\n", ""},
		"unknown field": {head + "prot: 5\n", `unknown field "prot"`},
		"wrong type":    {head + "port: five\n", "port"},
		"duplicate":     {head + "port: 5\nport: 6\n", "already set"},
		"other kind":    {"apiVersion: g/v1\nkind: Other\n", `kind "Other"`},
		"not yaml":      {head + "\t:", "yaml"},
		"empty":         {"", "wanted apiVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var s sample
			err := LoadKind(path, gvk, &s)
			switch {
			case c.want == "" && (err != nil || s.Port != 5):
				t.Fatalf("got %v, port %d", err, s.Port)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)):
				t.Fatalf("got %v, want %q and the file's name", err, c.want)
			}
		})
	}
}

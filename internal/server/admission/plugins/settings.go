package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	quotaconfig "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/config"
)

// Settings are the documents that configure plugins, by the plugin's name.
type Settings map[string]Document

// Document is YAML or JSON, and where it was read; files that it names are beside it.
type Document struct {
	File string
	Data []byte
}

// admissionConfiguration has the fields of AdmissionConfiguration (apiserver.config.k8s.io/v1).
type admissionConfiguration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Plugins    []struct {
		Name          string           `json:"name"`
		Path          string           `json:"path,omitempty"`
		Configuration *runtime.Unknown `json:"configuration,omitempty"`
	} `json:"plugins"`
}

// configurable are the plugins that take a document.
var configurable = []string{"EventRateLimit", "ImagePolicyWebhook", "PodNodeSelector", "PodSecurity", "PodTolerationRestriction", "ResourceQuota"}

// LoadSettings reads the file of --admission-control-config-file and the files that it names.
func LoadSettings(file string) (Settings, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc admissionConfiguration
	if err := config.Decode(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	group, version, _ := strings.Cut(doc.APIVersion, "/")
	if group != "apiserver.config.k8s.io" || version != "v1" && version != "v1alpha1" || doc.Kind != "AdmissionConfiguration" {
		return nil, fmt.Errorf("%s: it is of apiVersion %q, kind %q; wanted apiVersion %q, kind %q", file, doc.APIVersion, doc.Kind,
			"apiserver.config.k8s.io/v1", "AdmissionConfiguration")
	}
	all := Settings{}
	for _, p := range doc.Plugins {
		if err := configures(p.Name); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if _, twice := all[p.Name]; twice {
			return nil, fmt.Errorf("%s: plugin %q is configured twice", file, p.Name)
		}
		one := Document{File: file}
		switch {
		case p.Configuration != nil:
			one.Data = p.Configuration.Raw
		case p.Path != "":
			if one.File = p.Path; !filepath.IsAbs(p.Path) {
				one.File = filepath.Join(filepath.Dir(file), p.Path)
			}
			if one.Data, err = os.ReadFile(one.File); err != nil {
				return nil, fmt.Errorf("configuration of admission plugin %s: %w", p.Name, err)
			}
		default:
			continue
		}
		all[p.Name] = one
	}
	return all, nil
}

// configures refuses to configure plugins that would not look at it.
func configures(name string) error {
	switch {
	case slices.Contains(configurable, name):
		return nil
	case slices.Contains(AllNames(), name):
		return fmt.Errorf("admission plugin %q takes no configuration here; %v do", name, configurable)
	}
	return fmt.Errorf("unknown admission plugin %q: known are %v", name, AllNames())
}

// Decode reads the document of a plugin strictly; apiVersion and kind must be as wanted. Without a document nothing is read.
func (s Settings) Decode(plugin, apiVersion, kind string, into any) (found bool, err error) {
	d, ok := s[plugin]
	if !ok {
		return false, nil
	}
	if apiVersion != "" {
		var t struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(d.Data, &t); err != nil {
			return true, fmt.Errorf("%s: %w", d.File, err)
		}
		if t.APIVersion != apiVersion || t.Kind != kind {
			return true, fmt.Errorf("%s: it is of apiVersion %q, kind %q; wanted apiVersion %q, kind %q", d.File, t.APIVersion, t.Kind, apiVersion, kind)
		}
	}
	if err := config.Decode(d.Data, into); err != nil {
		return true, fmt.Errorf("%s: %w", d.File, err)
	}
	return true, nil
}

// LimitedResources are those that may be used only where a ResourceQuota allows for them.
func (s Settings) LimitedResources() ([]quotaconfig.LimitedResource, error) {
	var doc struct {
		metav1.TypeMeta  `json:",inline"`
		LimitedResources []quotaconfig.LimitedResource `json:"limitedResources,omitempty"`
	}
	_, err := s.Decode("ResourceQuota", quotaconfig.SchemeGroupVersion.String(), "ResourceQuotaConfiguration", &doc)
	return doc.LimitedResources, err
}

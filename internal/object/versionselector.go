package object

import (
	"strings"

	"k8s.io/apimachinery/pkg/fields"
)

// Selected is what a field selector is held against.
type Selected interface {
	fields.Fields
	// In is the whole object in a version.
	In(v *Version) (Object, error)
}

// SelectorIn gives a field selector as it is meant by clients of a version. Custom resources may have selectable fields in one version that
// another does not have at all, so that only the converted object can be held against them (KEP-4358).
func SelectorIn(v *Version, f fields.Selector) fields.Selector {
	if v.Custom == nil || v.FromHub == nil || v.Custom.Fields == nil || f == nil {
		return f
	}
	for _, r := range f.Requirements() {
		if !strings.HasPrefix(r.Field, "metadata.") {
			return versionSelector{f, v}
		}
	}
	return f
}

// SelectedVersion is the version into which a selector has objects converted; nil when it takes them as they are.
func SelectedVersion(f fields.Selector) *Version {
	if s, ok := f.(versionSelector); ok {
		return s.version
	}
	return nil
}

// versionSelector holds its selector against the object converted to a version.
type versionSelector struct {
	fields.Selector
	version *Version
}

// Matches selects an object that cannot be converted: whoever sends it on fails with the reason, which is better than to leave it out silently.
func (s versionSelector) Matches(f fields.Fields) bool {
	sel, ok := f.(Selected)
	if !ok {
		return s.Selector.Matches(f)
	}
	obj, err := sel.In(s.version)
	if err != nil {
		return true
	}
	set := s.version.Custom.Fields(obj)
	set["metadata.name"], set["metadata.namespace"] = obj.GetName(), obj.GetNamespace()
	return s.Selector.Matches(set)
}

// String tells selectors of different versions apart.
func (s versionSelector) String() string {
	return s.version.GroupVersion.String() + "/" + s.Selector.String()
}

func (s versionSelector) DeepCopySelector() fields.Selector {
	return versionSelector{s.Selector.DeepCopySelector(), s.version}
}

package podspec

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// newLabels are labels of nodes that others have taken the place of, and since when.
var newLabels = map[string]struct{ since, now string }{
	"beta.kubernetes.io/arch":                  {"v1.14", "kubernetes.io/arch"},
	"beta.kubernetes.io/os":                    {"v1.14", "kubernetes.io/os"},
	"failure-domain.beta.kubernetes.io/region": {"v1.17", "topology.kubernetes.io/region"},
	"failure-domain.beta.kubernetes.io/zone":   {"v1.17", "topology.kubernetes.io/zone"},
	"beta.kubernetes.io/instance-type":         {"v1.17", "node.kubernetes.io/instance-type"},
}

// LabelWarning is what users of a label are told; empty: nothing.
func LabelWarning(label string, at *field.Path) string {
	l, old := newLabels[label]
	if !old {
		return ""
	}
	return fmt.Sprintf("%s: deprecated since %s; use %q instead", at, l.since, l.now)
}

package server

import (
	"strings"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
)

// libraryMetrics are those that upstream's libraries for CEL and for conditions of admission keep for the whole process.
type libraryMetrics struct{}

// Gather implements prometheus.Gatherer.
func (libraryMetrics) Gather() ([]*dto.MetricFamily, error) {
	all, err := legacyregistry.DefaultGatherer.Gather()
	var out []*dto.MetricFamily
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), "apiserver_cel_") || strings.HasPrefix(f.GetName(), "apiserver_admission_match_condition_") {
			out = append(out, f)
		}
	}
	return out, err
}

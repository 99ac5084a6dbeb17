package admission

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

type named string

func (n named) Name() string { return string(n) }

type mutator struct{ named }

func (mutator) Mutate(context.Context, *Attributes) error { return nil }

type refuser struct{ named }

func (refuser) Validate(_ context.Context, a *Attributes) error {
	if a.Operation == Delete {
		return errors.New("no")
	}
	return nil
}

// TestMetrics counts two creations that are admitted and a deletion that the first of two validators refuses.
func TestMetrics(t *testing.T) {
	c, err := NewChain(mutator{"Mutates"}, refuser{"Refuses"}, refuser{"Behind"})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []Operation{Create, Delete, Create} {
		a := &Attributes{Operation: op}
		if err := c.Mutate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(t.Context(), a); (err != nil) != (op == Delete) {
			t.Fatal(err)
		}
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()[len("apiserver_admission_"):]
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetHistogram().GetSampleCount()
		}
	}
	want := map[string]uint64{
		"controller_admission_duration_seconds Mutates CREATE false admit":    2,
		"controller_admission_duration_seconds Mutates DELETE false admit":    1,
		"controller_admission_duration_seconds Refuses CREATE false validate": 2,
		"controller_admission_duration_seconds Refuses DELETE true validate":  1,
		"controller_admission_duration_seconds Behind CREATE false validate":  2,
		"step_admission_duration_seconds CREATE false admit":                  2,
		"step_admission_duration_seconds DELETE false admit":                  1,
		"step_admission_duration_seconds CREATE false validate":               2,
		"step_admission_duration_seconds DELETE true validate":                1,
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d, want %d", k, got[k], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

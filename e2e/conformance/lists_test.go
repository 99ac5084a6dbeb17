package main

import (
	"slices"
	"testing"

	"hyperkube/e2e/conformance/internal/specs"
)

func TestListsOfSpecs(t *testing.T) {
	all, err := specs.Parse(areas)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 462 || len(specs.Areas(all)) != 47 {
		t.Errorf("%d specs in %d areas; upstream's list has 462, in 47", len(all), len(specs.Areas(all)))
	}
	serial := 0
	for _, s := range all {
		if s.Serial() {
			serial++
		}
	}
	if serial != 29 {
		t.Errorf("%d serial specs, not 29", serial)
	}
	if _, err := specs.Pick(all, quick); err != nil {
		t.Error("quick.txt:", err)
	}
	if _, err := specs.Pick(all, "no such spec"); err == nil {
		t.Error("a spec that does not exist was found")
	}
	if got, err := specs.Select(all, "^Probes$", "http"); err != nil || len(got) == 0 || len(got) >= 10 {
		t.Errorf("probes without http: %d, %v", len(got), err)
	}
	if _, err := specs.Select(all, "(", ""); err == nil {
		t.Error("a malformed expression was taken")
	}
}

// What runs on every commit touches every area of the API whose specs are quick, and nothing that takes minutes.
func TestQuickSubset(t *testing.T) {
	all, err := specs.Parse(areas)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := specs.Pick(all, quick)
	if err != nil {
		t.Fatal(err)
	}
	slow := []string{"NoExecute taints"} // each of its specs waits for more than a minute
	there := specs.Areas(chosen)
	for _, a := range specs.Areas(all) {
		if slices.Contains(there, a) == slices.Contains(slow, a) {
			t.Errorf("quick.txt and the area %q: in the list %v", a, slices.Contains(there, a))
		}
	}
	for i, s := range chosen {
		if s.Slow() {
			t.Errorf("%s is slow", s.Name)
		}
		if slices.Contains(chosen[:i], s) {
			t.Errorf("%s is there twice", s.Name)
		}
	}
}

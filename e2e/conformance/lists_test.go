package main

import (
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

package lab

import (
	"strings"
	"testing"
)

func TestOneRunHasTheCluster(t *testing.T) {
	name := "hyperkube-lock-test-" + t.TempDir()
	first, second := &Lab{Name: name}, &Lab{Name: name}
	if err := first.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := second.Lock(); err == nil || !strings.Contains(err.Error(), "another conformance run") {
		t.Errorf("a second run: %v", err)
	}
	first.Close()
	if err := second.Lock(); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	second.Close()
}

package e2e

import "testing"

// TestObjects looks at and changes objects by every command of upstream's kubectl, which checks what it sends and
// understands what it gets by what the API server says of itself. Each part has a namespace of its own.
func TestObjects(t *testing.T) {
	h := newCluster(t)
	for name, part := range map[string]func(t *testing.T, k kubectl){
		"get":       testGet,
		"watch":     testWatch,
		"describe":  testDescribe,
		"explain":   testExplain,
		"discovery": testDiscovery,
		"apply":     testApply,
		"conflicts": testConflicts,
		"change":    testChange,
		"patch":     testPatch,
		"edit":      testEdit,
		"wait":      testWait,
		"cascade":   testCascade,
		"refusals":  testRefusals,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, h.on(t).upstream().in(name))
		})
	}
}

// TestEmbedded: the command line in the binary is whole, too, and is found by its name.
func TestEmbedded(t *testing.T) {
	h := newCluster(t)
	for name, part := range map[string]func(t *testing.T, k kubectl){
		"explain":  testExplain,
		"apply":    testApply,
		"refusals": testRefusals,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, h.on(t).embedded().in(name))
		})
	}
}

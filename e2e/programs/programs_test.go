package programs

import "testing"

// TestPrograms tries each program on the same cluster. The last two stop it: one starts it again, the other starts it without some
// of its roles.
func TestPrograms(t *testing.T) {
	c := newCluster(t)
	t.Run("side by side", func(t *testing.T) {
		t.Run("kubectl", func(t *testing.T) { t.Parallel(); testKubectls(t, c) })
		t.Run("helm", func(t *testing.T) { t.Parallel(); testHelm(t, c) })
		t.Run("client-go", func(t *testing.T) { t.Parallel(); testClientGo(t, c) })
	})
	t.Run("operator", func(t *testing.T) { testOperator(t, c) })
	t.Run("parts", func(t *testing.T) { testParts(t, c) })
}

package controllermanager

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	all := []entry{{name: "a-controller", alias: "a"}, {name: "b-controller"}, {name: "c-controller", off: true}}
	for flag, want := range map[string]string{
		"*":                        "a-controller b-controller",
		"*,-a":                     "b-controller",
		"*,c-controller":           "a-controller b-controller c-controller",
		"a":                        "a-controller",
		"-a-controller":            "",
		"*,-service-lb-controller": "a-controller b-controller",
		"*,-a,-b-controller,":      "",
	} {
		got, err := choose(all, splitAll([]string{flag}))
		require.NoError(t, err, flag)
		var names []string
		for _, e := range got {
			names = append(names, e.name)
		}
		require.Equal(t, want, strings.Join(names, " "), flag)
	}
	_, err := choose(all, []string{"*", "-nonsense"})
	require.ErrorContains(t, err, `"nonsense" is not in the list of known controllers: a-controller, b-controller, c-controller`)
	_, err = choose(all, []string{"service-lb-controller"})
	require.ErrorContains(t, err, "not part of this manager")
}

func TestEntries(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range entries() {
		require.False(t, seen[e.name], e.name)
		require.NotContains(t, elsewhere(), e.name)
		seen[e.name] = true
		require.NotNil(t, e.make)
	}
	_, err := New(Config{})
	require.ErrorContains(t, err, "--kubeconfig")
}

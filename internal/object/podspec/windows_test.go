package podspec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// TestWindowsUser: what upstream's server says of names of Windows users.
func TestWindowsUser(t *testing.T) {
	const domain, characters = "'s Domain doesn't match the NetBios nor the DNS format", "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
	for name, want := range map[string][]string{
		"":                                nil,
		"a b":                             {},
		`a\u`:                             {},
		`a b\u`:                           {},
		`-a\u`:                            {},
		`A.b.c\u`:                         {},
		strings.Repeat("a", 16) + `\u`:    {},
		strings.Repeat("a", 64) + `\u`:    {domain},
		`.a\u`:                            {domain},
		`..\x`:                            {domain},
		`\`:                               {domain, "'s User cannot be empty"},
		`a\`:                              {"'s User cannot be empty"},
		"...":                             {"'s User cannot contain only periods or spaces"},
		"a*b":                             {characters},
		"a\x01b":                          {" cannot contain control characters"},
		`a\b\c`:                           {" cannot contain more than one backslash"},
		strings.Repeat("x", 104):          {},
		`a/b\` + strings.Repeat("x", 105): {domain, "'s User length must not be longer than 104 characters"},
		strings.Repeat(strings.Repeat("x", 60)+".", 4) + `comabcdefghij\u`: {"'s Domain length must be under 256 characters"},
	} {
		if name == "" {
			want = []string{" cannot be an empty string"}
		}
		require.ElementsMatch(t, want, windowsUser(name), "%q", name)
	}
}

// TestHostProcess: the containers of a pod are all processes of the node or none is.
func TestHostProcess(t *testing.T) {
	process := func(is bool) *corev1.SecurityContext {
		return &corev1.SecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: &is}}
	}
	at := field.NewPath("spec")
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: "a", SecurityContext: process(true)}, {Name: "b"}}}
	require.Equal(t, []string{"spec", "spec.hostNetwork"}, fieldsOf(validateHostProcess(spec, at)))
	spec.HostNetwork = true
	spec.Containers[1].SecurityContext = process(true)
	require.Empty(t, validateHostProcess(spec, at))
	spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: ptr.To(true)}}
	spec.Containers[1].SecurityContext = process(false)
	require.Equal(t, []string{"spec.containers[1].securityContext.windowsOptions.hostProcess", "spec"}, fieldsOf(validateHostProcess(spec, at)))
}

func fieldsOf(list errs) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Field)
	}
	return out
}

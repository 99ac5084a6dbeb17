package podspec

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// TestProfiles: annotations give containers the profiles that no field gives them, and may not contradict fields.
func TestProfiles(t *testing.T) {
	annotations := map[string]string{
		appArmor + "c": "localhost/a", appArmor + "d": "unconfined", seccompPod: "localhost/b", seccompContainer + "c": "unconfined",
	}
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}, {Name: "d"}}}
	at := field.NewPath("spec")
	require.Empty(t, ValidateAnnotations(annotations, spec, field.NewPath("metadata", "annotations")))
	ApplyAppArmor(annotations, spec)
	require.Equal(t, &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr.To("a")}, spec.Containers[0].SecurityContext.AppArmorProfile)
	require.Equal(t, &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}, spec.Containers[1].SecurityContext.AppArmorProfile)
	require.Empty(t, ValidateProfiles(annotations, spec, at))

	spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr.To("a")}}
	spec.Containers[0].SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	spec.Containers[0].SecurityContext.AppArmorProfile.LocalhostProfile = ptr.To("other")
	spec.Containers[1].SecurityContext.AppArmorProfile.Type = corev1.AppArmorProfileTypeRuntimeDefault
	require.Equal(t, []string{
		"spec.securityContext.seccompProfile.localhostProfile", "spec.containers[0].securityContext.seccompProfile.type",
		"spec.containers[0].securityContext.appArmorProfile.localhostProfile", "spec.containers[1].securityContext.appArmorProfile.type",
	}, fieldsOf(ValidateProfiles(annotations, spec, at)))
	spec.OS = &corev1.PodOS{Name: corev1.Windows}
	require.Empty(t, ValidateProfiles(annotations, spec, at))
}

// TestDeletionCost: a cost is written as a machine would write it.
func TestDeletionCost(t *testing.T) {
	for v, ok := range map[string]bool{"0": true, "-5": true, "-0": true, "2147483647": true, "": false, "+5": false, "05": false, "-05": false, " 5": false, "2147483648": false} {
		require.Equal(t, ok, validCost(v), "%q", v)
	}
}

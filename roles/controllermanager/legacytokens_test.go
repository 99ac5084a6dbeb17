package controllermanager_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/roles/controllermanager"
)

// TestLegacyTokens has tokens that are idle for longer than a moment: of those that nobody asked for, the one that no pod mounts becomes
// invalid and goes, and all others stay.
func TestLegacyTokens(t *testing.T) {
	c := start(t, func(_ *cluster, cfg *controllermanager.Config) { cfg.LegacyTokenPeriod = time.Nanosecond })
	ns := c.namespace(t, "legacy")
	account := func(name string, secrets ...string) {
		a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
		for _, s := range secrets {
			a.Secrets = append(a.Secrets, corev1.ObjectReference{Name: s})
		}
		_, err := client.ServiceAccounts.Create(c.ctx, c.admin, a)
		require.NoError(t, err)
	}
	secret := func(name, account string) {
		_, err := client.Secrets.Create(c.ctx, c.admin, &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}}})
		require.NoError(t, err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Spec: template("x", "image:1").Spec}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "mounted"}}}}
	_, err := client.Pods.Create(c.ctx, c.admin, pod)
	require.NoError(t, err)
	// That the quota counts the pod shows that the manager knows of it.
	c.quota(t, ns, "q", map[corev1.ResourceName]string{"pods": "5"})
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"pods": "1"})
	account("mine")
	account("old", "mounted", "idle")
	secret("mine", "mine")
	secret("mounted", "old")
	secret("idle", "old")
	require.Eventually(t, func() bool {
		_, err := client.Secrets.Get(c.ctx, c.admin, ns, "idle")
		return apierrors.IsNotFound(err)
	}, patience, 5*time.Millisecond)
	for _, name := range []string{"mine", "mounted"} {
		s, err := client.Secrets.Get(c.ctx, c.admin, ns, name)
		require.NoError(t, err)
		require.NotContains(t, s.Labels, "kubernetes.io/legacy-token-invalid-since", name)
	}
}

package legacytokens

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNext(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	const period = 10 * 24 * time.Hour
	for name, c := range map[string]struct {
		labels  map[string]string
		made    int
		tracked int
		what    step
		due     time.Time
	}{
		"never used since it is tracked": {nil, 1, 5, invalidate, day(15)},
		"made later":                     {nil, 7, 5, invalidate, day(17)},
		"used":                           {map[string]string{lastUsed: "2026-01-08"}, 1, 5, invalidate, day(18)},
		"used before the last start":     {map[string]string{lastUsed: "2026-01-02"}, 1, 5, invalidate, day(15)},
		"use that cannot be read":        {map[string]string{lastUsed: "yesterday"}, 1, 5, invalidate, day(15)},
		"invalid":                        {map[string]string{lastUsed: "2026-01-08", invalidSince: "2026-01-18"}, 1, 5, remove, day(28)},
		"missed":                         {map[string]string{lastUsed: "2026-01-20", invalidSince: "2026-01-18"}, 1, 5, remove, day(30)},
		"mark that cannot be read":       {map[string]string{invalidSince: "now"}, 1, 5, invalidate, day(12)},
	} {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: c.labels, CreationTimestamp: metav1.NewTime(day(c.made))}}
			what, due := next(s, day(c.tracked), period, day(12))
			require.Equal(t, c.what, what)
			require.Equal(t, c.due, due)
		})
	}
}

func TestMounts(t *testing.T) {
	pod := func(v corev1.VolumeSource) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: v}}}}
	}
	require.True(t, mounts(pod(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}), "s"))
	require.False(t, mounts(pod(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "t"}}), "s"))
	require.False(t, mounts(pod(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}), "s"))
	require.True(t, mounts(pod(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}}}), "s"))
}

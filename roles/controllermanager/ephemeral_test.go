package controllermanager_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

func ephemeralClaim() corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To("fast"),
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}},
	}
}

func ephemeralVolumes(t *testing.T, c *cluster) {
	ns := c.namespace(t, "ephemeral")
	foreign, err := claims.Create(c.ctx, c.admin, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p-taken"}, Spec: ephemeralClaim()})
	require.NoError(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Spec: template("x", "image:1").Spec}
	for _, name := range []string{"free", "taken"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}},
				Spec:       ephemeralClaim(),
			},
		}}})
	}
	pod, err = client.Pods.Create(c.ctx, c.admin, pod)
	require.NoError(t, err)
	owned := func(pvc *corev1.PersistentVolumeClaim) error {
		if !metav1.IsControlledBy(pvc, pod) {
			return fmt.Errorf("owned by %v", pvc.OwnerReferences)
		}
		return nil
	}
	made := awaitOne(t, c, claims, ns, "p-free", owned)
	require.Equal(t, []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "Pod", Name: "p", UID: pod.UID, Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}}, made.OwnerReferences)
	require.Equal(t, map[string]string{"l": "1"}, made.Labels)
	require.Equal(t, "2", made.Annotations["a"])
	require.Equal(t, "fast", *made.Spec.StorageClassName)

	await(t, c, client.Events, ns, func(all []*corev1.Event) error {
		for _, e := range all {
			if e.InvolvedObject.UID == pod.UID && e.Reason == "FailedBinding" && e.Source.Component == "ephemeral_volume" &&
				e.Message == fmt.Sprintf("ephemeral volume taken: PVC %s/p-taken was not created for pod %s/p (pod is not owner)", ns, ns) {
				return nil
			}
		}
		return fmt.Errorf("nothing tells of the foreign claim")
	})
	require.NoError(t, claims.Delete(c.ctx, c.admin, ns, foreign.Name))
	awaitOne(t, c, claims, ns, foreign.Name, owned)

	// Its claims go with the pod, and none comes back.
	require.NoError(t, c.admin.Delete(c.ctx, client.Pods.GVR, ns, "p", metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}))
	gone(t, c, claims, ns, "p-free")
	gone(t, c, claims, ns, "p-taken")
}

// trustBundle: there is one bundle of the API server's signer, whatever others do to it.
func trustBundle(t *testing.T, c *cluster) {
	const signer, prefix = "kubernetes.io/kube-apiserver-serving", "kubernetes.io:kube-apiserver-serving:"
	right := func(not ...string) *certv1.ClusterTrustBundle {
		t.Helper()
		return await(t, c, client.ClusterTrustBundles, "", func(all []*certv1.ClusterTrustBundle) error {
			if len(all) != 1 || all[0].Spec.TrustBundle != string(c.Files.CA.PEM) || all[0].Spec.SignerName != signer || !strings.HasPrefix(all[0].Name, prefix) {
				return fmt.Errorf("%d bundles, or a wrong one", len(all))
			}
			if slices.Contains(not, all[0].ResourceVersion) {
				return fmt.Errorf("still the old one")
			}
			return nil
		})[0]
	}
	first := right()
	name := first.Name
	_, err := client.ClusterTrustBundles.Create(c.ctx, c.admin, &certv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: prefix + "other"},
		Spec:       certv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: string(c.Files.CA.PEM)},
	})
	require.NoError(t, err)
	gone(t, c, client.ClusterTrustBundles, "", prefix+"other")
	_, err = client.ClusterTrustBundles.Modify(c.ctx, c.admin, "", name, func(b *certv1.ClusterTrustBundle) bool {
		b.Spec.TrustBundle = string(c.Files.FrontProxyCA.PEM)
		return true
	})
	require.NoError(t, err)
	second := right(first.ResourceVersion)
	require.Equal(t, name, second.Name)
	require.NoError(t, client.ClusterTrustBundles.Delete(c.ctx, c.admin, "", name))
	third := right(first.ResourceVersion, second.ResourceVersion)
	require.Equal(t, name, third.Name)
	require.NotEqual(t, first.UID, third.UID)
}

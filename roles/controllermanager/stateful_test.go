package controllermanager_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

func TestStatefulSets(t *testing.T) {
	c := start(t, nil)
	c.node(t, "n1", nil)
	c.pretend(t, "n1")
	ns := c.namespace(t, "stateful")
	tmpl := template("db", "image:1")
	_, err := client.StatefulSets.Create(c.ctx, c.admin, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(int32(3)), ServiceName: "svc", Selector: &metav1.LabelSelector{MatchLabels: tmpl.Labels}, Template: tmpl,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}},
			}},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
			},
		},
	})
	require.NoError(t, err)
	generation := int64(1)
	whole := func(n int32) func(*appsv1.StatefulSet) error {
		return func(s *appsv1.StatefulSet) error {
			st := s.Status
			if st.ObservedGeneration != generation || st.Replicas != n || st.AvailableReplicas != n || st.UpdatedReplicas != n || st.CurrentReplicas != n || st.CurrentRevision != st.UpdateRevision {
				return fmt.Errorf("%+v", st)
			}
			return nil
		}
	}
	set := awaitOne(t, c, client.StatefulSets, ns, "db", whole(3))
	pods := await(t, c, client.Pods, ns, running("db", 3))
	made := map[string]*corev1.Pod{}
	for _, p := range pods {
		made[p.Name] = p
		require.Equal(t, p.Name, p.Labels[appsv1.StatefulSetPodNameLabel])
		require.Equal(t, "db-"+p.Labels[appsv1.PodIndexLabel], p.Name)
		require.Equal(t, set.Status.CurrentRevision, p.Labels[appsv1.StatefulSetRevisionLabel])
		require.Equal(t, []string{p.Name, "svc"}, []string{p.Spec.Hostname, p.Spec.Subdomain})
		require.Equal(t, "data-"+p.Name, p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName)
	}
	require.False(t, made["db-0"].CreationTimestamp.After(made["db-2"].CreationTimestamp.Time))
	await(t, c, client.PersistentVolumeClaims, ns, ownedClaims(3, set.Name))

	// A pod that has failed is made anew, and a change of the template reaches all, the first one last.
	end(t, c, made["db-1"], corev1.PodFailed)
	awaitOne(t, c, client.Pods, ns, "db-1", func(p *corev1.Pod) error {
		if p.UID == made["db-1"].UID || p.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("not replaced: %s", p.Status.Phase)
		}
		return nil
	})
	change := func(f func(*appsv1.StatefulSetSpec)) {
		s, err := client.StatefulSets.Modify(c.ctx, c.admin, ns, "db", func(s *appsv1.StatefulSet) bool { f(&s.Spec); return true })
		require.NoError(t, err)
		generation = s.Generation
	}
	change(func(s *appsv1.StatefulSetSpec) {
		s.Template.Spec.Containers[0].Image = "image:2"
		s.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(2))}
	})
	awaitOne(t, c, client.StatefulSets, ns, "db", func(s *appsv1.StatefulSet) error {
		if s.Status.UpdatedReplicas != 1 || s.Status.CurrentReplicas != 2 || s.Status.ReadyReplicas != 3 {
			return fmt.Errorf("%+v", s.Status)
		}
		return nil
	})
	change(func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.RollingUpdate.Partition = ptr.To(int32(0)) })
	next := awaitOne(t, c, client.StatefulSets, ns, "db", whole(3))
	require.NotEqual(t, set.Status.CurrentRevision, next.Status.CurrentRevision)
	// Back to the first template: its revision is used again.
	change(func(s *appsv1.StatefulSetSpec) { s.Template.Spec.Containers[0].Image = "image:1" })
	back := awaitOne(t, c, client.StatefulSets, ns, "db", whole(3))
	require.Equal(t, set.Status.CurrentRevision, back.Status.CurrentRevision)

	// Scaling down takes the claim along; deleting the set takes the others.
	change(func(s *appsv1.StatefulSetSpec) { s.Replicas = ptr.To(int32(2)) })
	awaitOne(t, c, client.StatefulSets, ns, "db", whole(2))
	gone(t, c, client.PersistentVolumeClaims, ns, "data-db-2")
	require.NoError(t, client.StatefulSets.Delete(c.ctx, c.admin, ns, "db"))
	noPods(t, c, ns)
	await(t, c, client.PersistentVolumeClaims, ns, ownedClaims(0, ""))
}

// ownedClaims wants n claims, with an owner.
func ownedClaims(n int, owner string) func([]*corev1.PersistentVolumeClaim) error {
	return func(all []*corev1.PersistentVolumeClaim) error {
		if len(all) != n {
			return fmt.Errorf("%d claims", len(all))
		}
		for _, c := range all {
			if len(c.OwnerReferences) != 1 || c.OwnerReferences[0].Name != owner {
				return fmt.Errorf("owners of %s: %+v", c.Name, c.OwnerReferences)
			}
		}
		return nil
	}
}

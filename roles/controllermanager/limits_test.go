package controllermanager_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

var (
	quotas  = client.Resource[*corev1.ResourceQuota]{GVR: corev1.SchemeGroupVersion.WithResource("resourcequotas")}
	budgets = client.Resource[*policyv1.PodDisruptionBudget]{GVR: policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")}
	claims  = client.Resource[*corev1.PersistentVolumeClaim]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")}
	volumes = client.Resource[*corev1.PersistentVolume]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumes")}
)

func TestLimits(t *testing.T) {
	c := start(t, nil)
	c.node(t, "n1", nil)
	t.Run("quota", func(t *testing.T) { quotaCounts(t, c) })
	t.Run("quota of pods", func(t *testing.T) { quotaOfPods(t, c) })
	t.Run("quota under concurrency", func(t *testing.T) { quotaRace(t, c) })
	t.Run("protection", func(t *testing.T) { protection(t, c) })
	t.Run("ephemeral volumes", func(t *testing.T) { ephemeralVolumes(t, c) })
	t.Run("status of policies", func(t *testing.T) { policyStatus(t, c) })
	t.Run("annotation of nodes", func(t *testing.T) { nodeTTL(t, c) })
	t.Run("budget", func(t *testing.T) { budget(t, c) })
}

func (c *cluster) quota(t *testing.T, ns, name string, hard map[corev1.ResourceName]string, scopes ...corev1.ResourceQuotaScope) {
	t.Helper()
	list := corev1.ResourceList{}
	for k, v := range hard {
		list[k] = resource.MustParse(v)
	}
	_, err := quotas.Create(c.ctx, c.admin, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: list, Scopes: scopes}})
	require.NoError(t, err)
	awaitOne(t, c, quotas, ns, name, func(q *corev1.ResourceQuota) error {
		if len(q.Status.Used) != len(hard) {
			return fmt.Errorf("not counted yet: %v", q.Status)
		}
		return nil
	})
}

// uses waits until a quota says that exactly this is used.
func (c *cluster) uses(t *testing.T, ns, name string, want map[corev1.ResourceName]string) {
	t.Helper()
	awaitOne(t, c, quotas, ns, name, func(q *corev1.ResourceQuota) error {
		for k, v := range want {
			used := q.Status.Used[k]
			if used.Cmp(resource.MustParse(v)) != 0 {
				return fmt.Errorf("%s: %s is used, want %s", k, used.String(), v)
			}
		}
		return nil
	})
}

func quotaCounts(t *testing.T, c *cluster) {
	ns := c.namespace(t, "counted")
	c.config(t, ns, "before", nil)
	c.quota(t, ns, "q", map[corev1.ResourceName]string{"count/configmaps": "3", "configmaps": "3", "services": "5", "services.nodeports": "2", "services.loadbalancers": "0", "count/deployments.apps": "1"})
	// The authority's config map and the one made before.
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"count/configmaps": "2", "configmaps": "2", "services": "0", "services.nodeports": "0", "services.loadbalancers": "0", "count/deployments.apps": "0"})
	third := c.config(t, ns, "third", nil)
	_, err := client.ConfigMaps.Create(c.ctx, c.admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "fourth"}})
	require.True(t, apierrors.IsForbidden(err), err)
	require.ErrorContains(t, err, `configmaps "fourth" is forbidden: exceeded quota: q, requested: configmaps=1,count/configmaps=1, used: configmaps=3,count/configmaps=3, limited: configmaps=3,count/configmaps=3`)
	require.NoError(t, client.ConfigMaps.Delete(c.ctx, c.admin, ns, third.Name))
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"configmaps": "2"})
	c.config(t, ns, "fourth", nil)
	service := func(name string, kind corev1.ServiceType, ports ...int32) error {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ServiceSpec{Type: kind, Selector: map[string]string{"a": "b"}}}
		for _, p := range ports {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", p), Port: p})
		}
		_, err := client.Services.Create(c.ctx, c.admin, svc)
		return err
	}
	require.NoError(t, service("nodes", corev1.ServiceTypeNodePort, 80, 81))
	require.ErrorContains(t, service("more", corev1.ServiceTypeNodePort, 80), "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=2, limited: services.nodeports=2")
	require.ErrorContains(t, service("balanced", corev1.ServiceTypeLoadBalancer, 80), "services.loadbalancers=1")
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"services": "1", "services.nodeports": "2"})
	_, err = client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 0))
	require.NoError(t, err)
	_, err = client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d2", 0))
	require.ErrorContains(t, err, "exceeded quota: q, requested: count/deployments.apps=1")
}

func quotaOfPods(t *testing.T, c *cluster) {
	ns := c.namespace(t, "pods")
	c.quota(t, ns, "q", map[corev1.ResourceName]string{"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi", "requests.example.com/dongle": "3"})
	c.quota(t, ns, "idle", map[corev1.ResourceName]string{"pods": "5"}, corev1.ResourceQuotaScopeBestEffort)
	pod := func(name, cpu, memory string) error {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: template("x", "image:1").Spec}
		r := &p.Spec.Containers[0].Resources
		if cpu != "" {
			r.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
			r.Limits = corev1.ResourceList{"memory": resource.MustParse(memory), "example.com/dongle": resource.MustParse("2")}
			r.Requests["example.com/dongle"] = resource.MustParse("2")
		}
		_, err := client.Pods.Create(c.ctx, c.admin, p)
		return err
	}
	require.ErrorContains(t, pod("silent", "", ""), `failed quota: q: must specify limits.memory for: c; requests.cpu for: c`)
	require.ErrorContains(t, pod("big", "2", "1Mi"), "exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1")
	require.NoError(t, pod("one", "500m", "100Mi"))
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"pods": "1", "requests.cpu": "500m", "limits.memory": "100Mi", "requests.example.com/dongle": "2"})
	c.uses(t, ns, "idle", map[corev1.ResourceName]string{"pods": "0"})
	require.ErrorContains(t, pod("two", "100m", "100Mi"), "exceeded quota: q, requested: requests.example.com/dongle=2")
	// A pod that is over gives its share back.
	_, err := client.Pods.Modify(c.ctx, c.admin, ns, "one", func(p *corev1.Pod) bool { p.Status.Phase = corev1.PodSucceeded; return true }, "status")
	require.NoError(t, err)
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"pods": "0", "requests.cpu": "0"})
	// A dry run takes nothing.
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "dry"}, Spec: template("x", "image:1").Spec}
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1")}, Limits: corev1.ResourceList{"memory": resource.MustParse("1Mi")}}
	_, err = c.admin.Create(c.ctx, client.Pods.GVR, p, metav1.CreateOptions{DryRun: []string{"All"}})
	require.NoError(t, err)
	q, err := quotas.Get(c.ctx, c.admin, ns, "q")
	require.NoError(t, err)
	require.True(t, q.Status.Used.Name("requests.cpu", resource.DecimalSI).IsZero())
}

// quotaRace has many writers at once: not one object more than the quota allows comes into being, and those that are refused for
// other reasons take nothing.
func quotaRace(t *testing.T, c *cluster) {
	ns := c.namespace(t, "race")
	c.quota(t, ns, "q", map[corev1.ResourceName]string{"secrets": "10"})
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			// Each name is tried twice: the second is refused by the store.
			_, err := client.Secrets.Create(c.ctx, c.admin, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("s", i/2)}})
			switch {
			case err == nil:
				made.Add(1)
			case !apierrors.IsForbidden(err) && !apierrors.IsAlreadyExists(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _, err := client.Secrets.List(c.ctx, c.admin, ns, metav1.ListOptions{})
	require.NoError(t, err)
	require.LessOrEqual(t, len(all), 10)
	require.Len(t, all, int(made.Load()))
	c.uses(t, ns, "q", map[corev1.ResourceName]string{"secrets": fmt.Sprint(len(all))})
}

func protection(t *testing.T, c *cluster) {
	ns := c.namespace(t, "protected")
	_, err := claims.Create(c.ctx, c.admin, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(""),
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}})
	require.NoError(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Spec: template("x", "image:1").Spec}
	pod.Spec.NodeName = "n1"
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}}}
	_, err = client.Pods.Create(c.ctx, c.admin, pod)
	require.NoError(t, err)
	require.NoError(t, claims.Delete(c.ctx, c.admin, ns, "c"))
	got, err := claims.Get(c.ctx, c.admin, ns, "c")
	require.NoError(t, err)
	require.NotNil(t, got.DeletionTimestamp)
	require.NoError(t, c.admin.Delete(c.ctx, client.Pods.GVR, ns, "p", metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}))
	gone(t, c, claims, ns, "c")
	_, err = volumes.Create(c.ctx, c.admin, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}}})
	require.NoError(t, err)
	require.NoError(t, volumes.Delete(c.ctx, c.admin, "", "v"))
	gone(t, c, volumes, "", "v")
}

func budget(t *testing.T, c *cluster) {
	ns := c.namespace(t, "budget")
	c.pretend(t, "n1")
	_, err := client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 4))
	require.NoError(t, err)
	awaitOne(t, c, client.Deployments, ns, "d", done)
	want := intstr.FromString("50%")
	_, err = budgets.Create(c.ctx, c.admin, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "b"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &want, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "d"}}}})
	require.NoError(t, err)
	state := func(expected, healthy, desired, allowed int32) func(*policyv1.PodDisruptionBudget) error {
		return func(b *policyv1.PodDisruptionBudget) error {
			s := b.Status
			if s.ExpectedPods != expected || s.CurrentHealthy != healthy || s.DesiredHealthy != desired || s.DisruptionsAllowed != allowed || s.ObservedGeneration != b.Generation ||
				meta.IsStatusConditionTrue(s.Conditions, policyv1.DisruptionAllowedCondition) != (allowed > 0) {
				return fmt.Errorf("%+v", s)
			}
			return nil
		}
	}
	awaitOne(t, c, budgets, ns, "b", state(4, 4, 2, 2))
	_, err = budgets.Modify(c.ctx, c.admin, ns, "b", func(b *policyv1.PodDisruptionBudget) bool {
		none := intstr.FromInt32(0)
		b.Spec.MinAvailable, b.Spec.MaxUnavailable = nil, &none
		return true
	})
	require.NoError(t, err)
	awaitOne(t, c, budgets, ns, "b", state(4, 4, 4, 0))
	pods, _, err := client.Pods.List(c.ctx, c.admin, ns, metav1.ListOptions{})
	require.NoError(t, err)
	evict := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: pods[0].Name}}
	_, err = c.admin.Create(c.ctx, client.Pods.GVR, evict, metav1.CreateOptions{}, "eviction")
	require.True(t, apierrors.IsTooManyRequests(err), err)
	_, err = client.Deployments.Modify(c.ctx, c.admin, ns, "d", func(d *appsv1.Deployment) bool { d.Spec.Replicas = ptr.To(int32(3)); return true })
	require.NoError(t, err)
	awaitOne(t, c, budgets, ns, "b", state(3, 3, 3, 0))
	_, err = budgets.Modify(c.ctx, c.admin, ns, "b", func(b *policyv1.PodDisruptionBudget) bool {
		one := intstr.FromInt32(1)
		b.Spec.MaxUnavailable = &one
		return true
	})
	require.NoError(t, err)
	awaitOne(t, c, budgets, ns, "b", state(3, 3, 2, 1))
	awaitOne(t, c, client.Deployments, ns, "d", done)
	pods, _, err = client.Pods.List(c.ctx, c.admin, ns, metav1.ListOptions{})
	require.NoError(t, err)
	evict.Name = pods[0].Name
	_, err = c.admin.Create(c.ctx, client.Pods.GVR, evict, metav1.CreateOptions{}, "eviction")
	require.NoError(t, err)
	// The deployment makes another, and the budget is whole again.
	awaitOne(t, c, budgets, ns, "b", func(b *policyv1.PodDisruptionBudget) error {
		if _, err := client.Pods.Get(c.ctx, c.admin, ns, evict.Name); !apierrors.IsNotFound(err) {
			return errors.New("the evicted pod is still there")
		}
		return state(3, 3, 2, 1)(b)
	})
}

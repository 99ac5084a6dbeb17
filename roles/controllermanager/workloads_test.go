package controllermanager_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/endpoints"
	"hyperkube/internal/controllers/endpointslice"
	"hyperkube/internal/controllers/slicemirroring"
)

func template(app, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image, Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}}},
	}
}

func deployment(ns, name string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template(name, "image:1"),
		},
	}
}

// done says why a deployment is not complete.
func done(d *appsv1.Deployment) error {
	n := *d.Spec.Replicas
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
		return fmt.Errorf("not complete: %+v", s)
	}
	for _, c := range s.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Reason == "NewReplicaSetAvailable" {
			return nil
		}
	}
	return fmt.Errorf("not available: %+v", s.Conditions)
}

func TestWorkloads(t *testing.T) {
	c := start(t, nil)
	c.node(t, "n1", map[string]string{corev1.LabelTopologyZone: "z1"})
	c.node(t, "n2", map[string]string{corev1.LabelTopologyZone: "z2"})
	c.pretend(t, "n1", "n2")
	t.Run("nodes", func(t *testing.T) {
		await(t, c, client.Nodes, "", func(all []*corev1.Node) error {
			seen := map[string]bool{}
			for _, n := range all {
				if len(n.Spec.Taints) > 0 {
					return fmt.Errorf("%s has taints: %v", n.Name, n.Spec.Taints)
				}
				if n.Spec.PodCIDR == "" || seen[n.Spec.PodCIDR] {
					return fmt.Errorf("%s has range %q", n.Name, n.Spec.PodCIDR)
				}
				seen[n.Spec.PodCIDR] = true
			}
			return nil
		})
	})
	t.Run("deployment", func(t *testing.T) { rollOut(t, c) })
	t.Run("recreate", func(t *testing.T) { recreate(t, c) })
	t.Run("replica set", func(t *testing.T) { adoption(t, c) })
	t.Run("replication controller", func(t *testing.T) { replication(t, c) })
	t.Run("daemon set", func(t *testing.T) { daemons(t, c) })
	t.Run("endpoints", func(t *testing.T) { serving(t, c) })
	t.Run("mirroring", func(t *testing.T) { mirroring(t, c) })
}

func rollOut(t *testing.T, c *cluster) {
	ns := c.namespace(t, "rollout")
	_, err := client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 4))
	require.NoError(t, err)
	d := awaitOne(t, c, client.Deployments, ns, "d", done)
	require.Equal(t, "1", d.Annotations["deployment.kubernetes.io/revision"])
	first := await(t, c, client.ReplicaSets, ns, func([]*appsv1.ReplicaSet) error { return nil })
	require.Len(t, first, 1)
	require.Equal(t, "d-"+first[0].Labels["pod-template-hash"], first[0].Name)

	change := func(image string, more func(*appsv1.Deployment)) {
		_, err := client.Deployments.Modify(c.ctx, c.admin, ns, "d", func(d *appsv1.Deployment) bool {
			d.Spec.Template.Spec.Containers[0].Image = image
			if more != nil {
				more(d)
			}
			return true
		})
		require.NoError(t, err)
	}
	change("image:2", nil)
	second := func(d *appsv1.Deployment) error {
		if d.Annotations["deployment.kubernetes.io/revision"] != "2" {
			return fmt.Errorf("revision %q", d.Annotations["deployment.kubernetes.io/revision"])
		}
		return done(d)
	}
	awaitOne(t, c, client.Deployments, ns, "d", second)
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		for _, p := range all {
			if p.Spec.Containers[0].Image != "image:2" {
				return fmt.Errorf("%s has %s", p.Name, p.Spec.Containers[0].Image)
			}
		}
		if len(all) != 4 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
	// A bad template must leave three of four working, and its replica set is scaled in proportion.
	change("image:3", func(d *appsv1.Deployment) { d.Spec.Template.Labels["broken"] = "true" })
	await(t, c, client.ReplicaSets, ns, func(all []*appsv1.ReplicaSet) error {
		old, new := int32(0), int32(0)
		for _, rs := range all {
			if _, broken := rs.Labels["broken"]; broken {
				new += rs.Status.Replicas
			} else {
				old += rs.Status.AvailableReplicas
			}
		}
		if old != 3 || new != 2 {
			return fmt.Errorf("%d old, %d new", old, new)
		}
		return nil
	})
	// Back again: the replica set of image 2 becomes revision 4, and the history has 1, 3 and 4.
	change("image:2", func(d *appsv1.Deployment) { delete(d.Spec.Template.Labels, "broken") })
	awaitOne(t, c, client.Deployments, ns, "d", func(d *appsv1.Deployment) error {
		if d.Annotations["deployment.kubernetes.io/revision"] != "4" {
			return fmt.Errorf("revision %q", d.Annotations["deployment.kubernetes.io/revision"])
		}
		return done(d)
	})
	sets := await(t, c, client.ReplicaSets, ns, func([]*appsv1.ReplicaSet) error { return nil })
	var revisions []string
	for _, rs := range sets {
		revisions = append(revisions, rs.Annotations["deployment.kubernetes.io/revision"]+"/"+rs.Annotations["deployment.kubernetes.io/revision-history"])
	}
	slices.Sort(revisions)
	require.Equal(t, []string{"1/", "3/", "4/2"}, revisions)
	// The history shrinks to its limit.
	_, err = client.Deployments.Modify(c.ctx, c.admin, ns, "d", func(d *appsv1.Deployment) bool { d.Spec.RevisionHistoryLimit = ptr.To(int32(0)); return true })
	require.NoError(t, err)
	await(t, c, client.ReplicaSets, ns, func(all []*appsv1.ReplicaSet) error {
		if len(all) != 1 {
			return fmt.Errorf("%d replica sets", len(all))
		}
		return nil
	})
	// Deletion takes all with it, through the garbage collector.
	require.NoError(t, client.Deployments.Delete(c.ctx, c.admin, ns, "d"))
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		if len(all) > 0 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
}

func recreate(t *testing.T, c *cluster) {
	ns := c.namespace(t, "recreate")
	d := deployment(ns, "d", 2)
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	_, err := client.Deployments.Create(c.ctx, c.admin, d)
	require.NoError(t, err)
	awaitOne(t, c, client.Deployments, ns, "d", done)
	// While two templates run at once, the check fails.
	pods := client.InformerFor(c.inf, client.Pods)
	mixed := make(chan string, 100)
	pods.OnChange(func(_, new *corev1.Pod) {
		images := map[string]bool{}
		for _, p := range pods.InNamespace(ns) {
			images[p.Spec.Containers[0].Image] = true
		}
		if len(images) > 1 {
			mixed <- fmt.Sprint(images)
		}
	})
	client.InformerFor(c.inf, client.Deployments).OnChange(func(_, new *appsv1.Deployment) {
		if new != nil && new.Namespace == ns && new.Status.UpdatedReplicas > 0 && new.Status.Replicas != new.Status.UpdatedReplicas {
			mixed <- fmt.Sprintf("%+v", new.Status)
		}
	})
	_, err = client.Deployments.Modify(c.ctx, c.admin, ns, "d", func(d *appsv1.Deployment) bool {
		d.Spec.Template.Spec.Containers[0].Image = "image:2"
		return true
	})
	require.NoError(t, err)
	awaitOne(t, c, client.Deployments, ns, "d", func(d *appsv1.Deployment) error {
		if d.Annotations["deployment.kubernetes.io/revision"] != "2" {
			return fmt.Errorf("revision %v", d.Annotations)
		}
		return done(d)
	})
	require.Empty(t, mixed)
}

func adoption(t *testing.T, c *cluster) {
	ns := c.namespace(t, "adoption")
	tmpl := template("rs", "image:1")
	orphan, err := client.Pods.Create(c.ctx, c.admin, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "orphan", Labels: tmpl.Labels}, Spec: tmpl.Spec})
	require.NoError(t, err)
	rs, err := client.ReplicaSets.Create(c.ctx, c.admin, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "rs"},
		Spec:       appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: tmpl.Labels}, Template: tmpl},
	})
	require.NoError(t, err)
	full := func(rs *appsv1.ReplicaSet) error {
		if rs.Status.AvailableReplicas != *rs.Spec.Replicas || rs.Status.Replicas != *rs.Spec.Replicas {
			return fmt.Errorf("status %+v", rs.Status)
		}
		return nil
	}
	awaitOne(t, c, client.ReplicaSets, ns, "rs", full)
	orphan = awaitOne(t, c, client.Pods, ns, orphan.Name, func(p *corev1.Pod) error {
		if !metav1.IsControlledBy(p, rs) {
			return fmt.Errorf("not adopted")
		}
		return nil
	})
	require.True(t, *orphan.OwnerReferences[0].BlockOwnerDeletion)
	_, err = client.Pods.Modify(c.ctx, c.admin, ns, orphan.Name, func(p *corev1.Pod) bool { p.Labels["app"] = "other"; return true })
	require.NoError(t, err)
	awaitOne(t, c, client.Pods, ns, orphan.Name, func(p *corev1.Pod) error {
		if metav1.GetControllerOf(p) != nil {
			return fmt.Errorf("not released")
		}
		return nil
	})
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		if len(all) != 3 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
	_, err = client.ReplicaSets.Modify(c.ctx, c.admin, ns, "rs", func(rs *appsv1.ReplicaSet) bool { rs.Spec.Replicas = ptr.To(int32(40)); return true })
	require.NoError(t, err)
	awaitOne(t, c, client.ReplicaSets, ns, "rs", full)
}

func replication(t *testing.T, c *cluster) {
	ns := c.namespace(t, "replication")
	tmpl := template("rc", "image:1")
	_, err := client.ReplicationControllers.Create(c.ctx, c.admin, &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "rc"},
		Spec:       corev1.ReplicationControllerSpec{Replicas: ptr.To(int32(3)), Selector: tmpl.Labels, Template: &tmpl},
	})
	require.NoError(t, err)
	full := func(n int32) func(*corev1.ReplicationController) error {
		return func(rc *corev1.ReplicationController) error {
			if rc.Status.Replicas != n || rc.Status.ReadyReplicas != n {
				return fmt.Errorf("status %+v", rc.Status)
			}
			return nil
		}
	}
	awaitOne(t, c, client.ReplicationControllers, ns, "rc", full(3))
	_, err = client.ReplicationControllers.Modify(c.ctx, c.admin, ns, "rc", func(rc *corev1.ReplicationController) bool { rc.Spec.Replicas = ptr.To(int32(1)); return true })
	require.NoError(t, err)
	awaitOne(t, c, client.ReplicationControllers, ns, "rc", full(1))
}

func daemons(t *testing.T, c *cluster) {
	ns := c.namespace(t, "daemons")
	tmpl := template("ds", "image:1")
	_, err := client.DaemonSets.Create(c.ctx, c.admin, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ds"},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: tmpl.Labels}, Template: tmpl},
	})
	require.NoError(t, err)
	on := func(n, updated int32) func(*appsv1.DaemonSet) error {
		return func(ds *appsv1.DaemonSet) error {
			s := ds.Status
			if s.DesiredNumberScheduled != n || s.NumberAvailable != n || s.UpdatedNumberScheduled != updated || s.ObservedGeneration != ds.Generation {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		}
	}
	awaitOne(t, c, client.DaemonSets, ns, "ds", on(2, 2))
	// A failed pod is replaced.
	pods := await(t, c, client.Pods, ns, func([]*corev1.Pod) error { return nil })
	_, err = client.Pods.Modify(c.ctx, c.admin, ns, pods[0].Name, func(p *corev1.Pod) bool { p.Status.Phase = corev1.PodFailed; return true }, "status")
	require.NoError(t, err)
	gone(t, c, client.Pods, ns, pods[0].Name)
	awaitOne(t, c, client.DaemonSets, ns, "ds", on(2, 2))
	_, err = client.DaemonSets.Modify(c.ctx, c.admin, ns, "ds", func(ds *appsv1.DaemonSet) bool {
		ds.Spec.Template.Spec.Containers[0].Image = "image:2"
		return true
	})
	require.NoError(t, err)
	awaitOne(t, c, client.DaemonSets, ns, "ds", on(2, 2))
	await(t, c, client.ControllerRevisions, ns, func(all []*appsv1.ControllerRevision) error {
		if len(all) != 2 {
			return fmt.Errorf("%d revisions", len(all))
		}
		return nil
	})
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		for _, p := range all {
			if p.Spec.Containers[0].Image != "image:2" {
				return fmt.Errorf("%s is old", p.Name)
			}
		}
		return nil
	})
	// A node that is tainted keeps nothing and gets nothing.
	_, err = client.Nodes.Modify(c.ctx, c.admin, "", "n2", func(n *corev1.Node) bool {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoExecute})
		return true
	})
	require.NoError(t, err)
	awaitOne(t, c, client.DaemonSets, ns, "ds", on(1, 1))
	await(t, c, client.Pods, "", func(all []*corev1.Pod) error {
		for _, p := range all {
			if p.Spec.NodeName == "n2" {
				return fmt.Errorf("%s/%s is still on the tainted node", p.Namespace, p.Name)
			}
		}
		return nil
	})
	_, err = client.Nodes.Modify(c.ctx, c.admin, "", "n2", func(n *corev1.Node) bool { n.Spec.Taints = nil; return true })
	require.NoError(t, err)
	awaitOne(t, c, client.DaemonSets, ns, "ds", on(2, 2))
}

func serving(t *testing.T, c *cluster) {
	ns := c.namespace(t, "serving")
	_, err := client.Services.Create(c.ctx, c.admin, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s", Labels: map[string]string{"team": "a"}},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "d"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("web")}},
			TrafficDistribution: ptr.To(corev1.ServiceTrafficDistributionPreferClose),
		},
	})
	require.NoError(t, err)
	slices := func(n int) func([]*discoveryv1.EndpointSlice) error {
		return func(all []*discoveryv1.EndpointSlice) error {
			if len(all) != 1 || len(all[0].Endpoints) != n {
				return fmt.Errorf("%d slices: %+v", len(all), all)
			}
			for _, e := range all[0].Endpoints {
				if !*e.Conditions.Ready {
					return fmt.Errorf("not ready: %+v", e)
				}
			}
			return nil
		}
	}
	empty := await(t, c, client.EndpointSlices, ns, slices(0))[0]
	require.Equal(t, endpointslice.ManagedBy, empty.Labels[discoveryv1.LabelManagedBy])
	require.Equal(t, "s", empty.Labels[discoveryv1.LabelServiceName])
	require.Equal(t, "a", empty.Labels["team"])
	require.True(t, strings.HasPrefix(empty.Name, "s-"))
	_, err = client.Deployments.Create(c.ctx, c.admin, deployment(ns, "d", 3))
	require.NoError(t, err)
	full := await(t, c, client.EndpointSlices, ns, slices(3))[0]
	require.Equal(t, empty.Name, full.Name, "the empty slice is filled")
	require.Equal(t, int32(80), *full.Ports[0].Port)
	require.NotNil(t, full.Endpoints[0].Hints, "%+v", full.Endpoints[0])
	require.Equal(t, *full.Endpoints[0].Zone, full.Endpoints[0].Hints.ForZones[0].Name)
	e := awaitOne(t, c, client.Endpoints, ns, "s", func(e *corev1.Endpoints) error {
		if len(e.Subsets) != 1 || len(e.Subsets[0].Addresses) != 3 {
			return fmt.Errorf("%+v", e.Subsets)
		}
		return nil
	})
	require.Equal(t, endpoints.ManagedBy, e.Labels[endpoints.LabelManagedBy])
	// A slice that somebody deletes comes back.
	require.NoError(t, client.EndpointSlices.Delete(c.ctx, c.admin, ns, full.Name))
	await(t, c, client.EndpointSlices, ns, func(all []*discoveryv1.EndpointSlice) error {
		if len(all) == 1 && all[0].Name == full.Name {
			return fmt.Errorf("not deleted yet")
		}
		return slices(3)(all)
	})
	require.NoError(t, client.Services.Delete(c.ctx, c.admin, ns, "s"))
	gone(t, c, client.Endpoints, ns, "s")
	await(t, c, client.EndpointSlices, ns, func(all []*discoveryv1.EndpointSlice) error {
		if len(all) > 0 {
			return fmt.Errorf("%d slices", len(all))
		}
		return nil
	})
}

func mirroring(t *testing.T, c *cluster) {
	ns := c.namespace(t, "mirroring")
	_, err := client.Services.Create(c.ctx, c.admin, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	})
	require.NoError(t, err)
	_, err = client.Endpoints.Create(c.ctx, c.admin, &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s"},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "192.0.2.1"}}, Ports: []corev1.EndpointPort{{Port: 8080, Protocol: corev1.ProtocolTCP}}}},
	})
	require.NoError(t, err)
	has := func(ip string) func([]*discoveryv1.EndpointSlice) error {
		return func(all []*discoveryv1.EndpointSlice) error {
			if len(all) != 1 || len(all[0].Endpoints) != 1 || all[0].Endpoints[0].Addresses[0] != ip {
				return fmt.Errorf("%+v", all)
			}
			return nil
		}
	}
	s := await(t, c, client.EndpointSlices, ns, has("192.0.2.1"))[0]
	require.Equal(t, slicemirroring.ManagedBy, s.Labels[discoveryv1.LabelManagedBy])
	_, err = client.Endpoints.Modify(c.ctx, c.admin, ns, "s", func(e *corev1.Endpoints) bool {
		e.Subsets[0].Addresses[0].IP = "192.0.2.2"
		return true
	})
	require.NoError(t, err)
	await(t, c, client.EndpointSlices, ns, has("192.0.2.2"))
	require.NoError(t, client.Endpoints.Delete(c.ctx, c.admin, ns, "s"))
	await(t, c, client.EndpointSlices, ns, func(all []*discoveryv1.EndpointSlice) error {
		if len(all) > 0 {
			return fmt.Errorf("%d slices", len(all))
		}
		return nil
	})
}

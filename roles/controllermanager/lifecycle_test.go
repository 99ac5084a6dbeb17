package controllermanager_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/nodelifecycle"
	"hyperkube/roles/controllermanager"
)

func TestLifecycle(t *testing.T) {
	c := start(t, func(_ *cluster, cfg *controllermanager.Config) {
		cfg.NodeLifecycle = nodelifecycle.Options{MonitorGracePeriod: 2 * time.Second, EvictionRate: 1000}
	})
	t.Run("garbage collection", func(t *testing.T) { garbage(t, c) })
	t.Run("foreground", func(t *testing.T) { foreground(t, c) })
	t.Run("circle", func(t *testing.T) { circle(t, c) })
	t.Run("namespace", func(t *testing.T) { namespaces(t, c) })
	t.Run("root CA", func(t *testing.T) { rootCA(t, c) })
	t.Run("trust bundle", func(t *testing.T) { trustBundle(t, c) })
	t.Run("account tokens", func(t *testing.T) { accountTokens(t, c) })
	t.Run("bootstrap tokens", func(t *testing.T) { bootstrapTokens(t, c) })
	t.Run("aggregation", func(t *testing.T) { aggregation(t, c) })
	t.Run("eviction", func(t *testing.T) { eviction(t, c) })
	t.Run("silent node", func(t *testing.T) { silentNode(t, c) })
}

// config makes a config map that is owned by others.
func (c *cluster) config(t *testing.T, ns, name string, finalizers []string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	t.Helper()
	cm, err := client.ConfigMaps.Create(c.ctx, c.admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: name, OwnerReferences: owners, Finalizers: finalizers,
	}})
	require.NoError(t, err)
	return cm
}

func ownedBy(cm *corev1.ConfigMap, block bool) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: cm.Name, UID: cm.UID, BlockOwnerDeletion: ptr.To(block)}
}

func (c *cluster) delete(t *testing.T, cm *corev1.ConfigMap, how metav1.DeletionPropagation) {
	t.Helper()
	require.NoError(t, c.admin.Delete(c.ctx, client.ConfigMaps.GVR, cm.Namespace, cm.Name, metav1.DeleteOptions{PropagationPolicy: &how}))
}

func garbage(t *testing.T, c *cluster) {
	ns := c.namespace(t, "garbage")
	a := c.config(t, ns, "a", nil)
	b := c.config(t, ns, "b", nil)
	c.config(t, ns, "of-a", nil, ownedBy(a, true))
	c.config(t, ns, "of-both", nil, ownedBy(a, true), ownedBy(b, true))
	grandchild := c.config(t, ns, "child", nil, ownedBy(a, true))
	c.config(t, ns, "grandchild", nil, ownedBy(grandchild, true))
	c.delete(t, a, metav1.DeletePropagationBackground)
	gone(t, c, client.ConfigMaps, ns, "of-a")
	gone(t, c, client.ConfigMaps, ns, "grandchild")
	refs := func(n int) func(*corev1.ConfigMap) error {
		return func(cm *corev1.ConfigMap) error {
			if len(cm.OwnerReferences) != n {
				return fmt.Errorf("owners: %v", cm.OwnerReferences)
			}
			return nil
		}
	}
	left := awaitOne(t, c, client.ConfigMaps, ns, "of-both", refs(1))
	require.Equal(t, b.UID, left.OwnerReferences[0].UID)
	c.delete(t, b, metav1.DeletePropagationOrphan)
	gone(t, c, client.ConfigMaps, ns, "b")
	awaitOne(t, c, client.ConfigMaps, ns, "of-both", refs(0))
	// An owner that never was.
	c.config(t, ns, "stray", nil, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "nobody", UID: "8f7e3f1e-0000-4000-8000-000000000000"})
	gone(t, c, client.ConfigMaps, ns, "stray")
	// A cluster-scoped dependent of something in a namespace is left alone, and an event says why.
	role, err := client.ClusterRoles.Create(c.ctx, c.admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "stray", OwnerReferences: []metav1.OwnerReference{ownedBy(left, false)}}})
	require.NoError(t, err)
	await(t, c, client.Events, "", func(all []*corev1.Event) error {
		if !slices.ContainsFunc(all, func(e *corev1.Event) bool {
			return e.Reason == "OwnerRefInvalidNamespace" && e.InvolvedObject.UID == role.UID
		}) {
			return fmt.Errorf("no event")
		}
		return nil
	})
	_, err = client.ClusterRoles.Get(c.ctx, c.admin, "", "stray")
	require.NoError(t, err)
}

func foreground(t *testing.T, c *cluster) {
	ns := c.namespace(t, "foreground")
	owner := c.config(t, ns, "owner", nil)
	c.config(t, ns, "held", []string{"example.com/hold"}, ownedBy(owner, true))
	c.config(t, ns, "loose", nil, ownedBy(owner, false))
	other := c.config(t, ns, "other", nil)
	c.config(t, ns, "shared", nil, ownedBy(owner, true), ownedBy(other, true))
	c.delete(t, owner, metav1.DeletePropagationForeground)
	gone(t, c, client.ConfigMaps, ns, "loose")
	awaitOne(t, c, client.ConfigMaps, ns, "held", func(cm *corev1.ConfigMap) error {
		if cm.DeletionTimestamp == nil {
			return fmt.Errorf("not being deleted")
		}
		return nil
	})
	got, err := client.ConfigMaps.Get(c.ctx, c.admin, ns, "owner")
	require.NoError(t, err, "the owner waits")
	require.Contains(t, got.Finalizers, metav1.FinalizerDeleteDependents)
	_, err = client.ConfigMaps.Modify(c.ctx, c.admin, ns, "held", func(cm *corev1.ConfigMap) bool { cm.Finalizers = nil; return true })
	require.NoError(t, err)
	gone(t, c, client.ConfigMaps, ns, "owner")
	awaitOne(t, c, client.ConfigMaps, ns, "shared", func(cm *corev1.ConfigMap) error {
		if len(cm.OwnerReferences) != 1 || cm.OwnerReferences[0].UID != other.UID || cm.DeletionTimestamp != nil {
			return fmt.Errorf("%+v", cm.ObjectMeta)
		}
		return nil
	})
}

func circle(t *testing.T, c *cluster) {
	ns := c.namespace(t, "circle")
	a := c.config(t, ns, "a", nil)
	b := c.config(t, ns, "b", nil, ownedBy(a, true))
	d := c.config(t, ns, "c", nil, ownedBy(b, true))
	_, err := client.ConfigMaps.Modify(c.ctx, c.admin, ns, "a", func(cm *corev1.ConfigMap) bool {
		cm.OwnerReferences = []metav1.OwnerReference{ownedBy(d, true)}
		return true
	})
	require.NoError(t, err)
	c.delete(t, a, metav1.DeletePropagationForeground)
	for _, name := range []string{"a", "b", "c"} {
		gone(t, c, client.ConfigMaps, ns, name)
	}
}

func namespaces(t *testing.T, c *cluster) {
	ns := c.namespace(t, "doomed")
	_, err := client.Pods.Create(c.ctx, c.admin, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p", Finalizers: []string{"example.com/hold"}}, Spec: template("p", "i").Spec,
	})
	require.NoError(t, err)
	c.config(t, ns, "cm", nil)
	require.NoError(t, client.Namespaces.Delete(c.ctx, c.admin, "", ns))
	awaitOne(t, c, client.Namespaces, "", ns, func(n *corev1.Namespace) error {
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NamespaceFinalizersRemaining && cond.Message == "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances" {
				if n.Status.Phase != corev1.NamespaceTerminating || len(n.Status.Conditions) != 5 {
					return fmt.Errorf("%+v", n.Status)
				}
				return nil
			}
		}
		return fmt.Errorf("%+v", n.Status)
	})
	_, err = client.ConfigMaps.Get(c.ctx, c.admin, ns, "cm")
	require.NoError(t, err, "nothing goes before the pods")
	_, err = client.Pods.Modify(c.ctx, c.admin, ns, "p", func(p *corev1.Pod) bool { p.Finalizers = nil; return true })
	require.NoError(t, err)
	gone(t, c, client.Namespaces, "", ns)
	gone(t, c, client.ConfigMaps, ns, "cm")
}

func rootCA(t *testing.T, c *cluster) {
	const name = "kube-root-ca.crt"
	right := func(cm *corev1.ConfigMap) error {
		if cm.Data["ca.crt"] != string(c.Files.CA.PEM) || len(cm.Data) != 1 {
			return fmt.Errorf("%v", cm.Data)
		}
		return nil
	}
	awaitOne(t, c, client.ConfigMaps, "default", name, right)
	_, err := client.ConfigMaps.Modify(c.ctx, c.admin, "default", name, func(cm *corev1.ConfigMap) bool { cm.Data["ca.crt"] = "forged"; return true })
	require.NoError(t, err)
	awaitOne(t, c, client.ConfigMaps, "default", name, right)
	old := awaitOne(t, c, client.ConfigMaps, "default", name, right)
	require.NoError(t, client.ConfigMaps.Delete(c.ctx, c.admin, "default", name))
	awaitOne(t, c, client.ConfigMaps, "default", name, func(cm *corev1.ConfigMap) error {
		if cm.UID == old.UID {
			return fmt.Errorf("not made again")
		}
		return right(cm)
	})
}

func accountTokens(t *testing.T, c *cluster) {
	ns := c.namespace(t, "accounts")
	secret := func(name, account string) {
		_, err := client.Secrets.Create(c.ctx, c.admin, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
			Type:       corev1.SecretTypeServiceAccountToken,
		})
		require.NoError(t, err)
	}
	_, err := client.ServiceAccounts.Create(c.ctx, c.admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "robot"}})
	require.NoError(t, err)
	secret("robot-token", "robot")
	secret("nobody-token", "nobody")
	s := awaitOne(t, c, client.Secrets, ns, "robot-token", func(s *corev1.Secret) error {
		if len(s.Data) != 3 {
			return fmt.Errorf("not filled")
		}
		return nil
	})
	require.Len(t, strings.Split(string(s.Data[corev1.ServiceAccountTokenKey]), "."), 3)
	gone(t, c, client.Secrets, ns, "nobody-token")
	require.NoError(t, client.ServiceAccounts.Delete(c.ctx, c.admin, ns, "robot"))
	gone(t, c, client.Secrets, ns, "robot-token")
}

func bootstrapTokens(t *testing.T, c *cluster) {
	token := func(id, secret string, ttl time.Duration) {
		_, err := client.Secrets.Create(c.ctx, c.admin, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: bootstrapapi.BootstrapTokenSecretPrefix + id},
			Type:       bootstrapapi.SecretTypeBootstrapToken,
			StringData: map[string]string{
				bootstrapapi.BootstrapTokenIDKey: id, bootstrapapi.BootstrapTokenSecretKey: secret, bootstrapapi.BootstrapTokenUsageSigningKey: "true",
				bootstrapapi.BootstrapTokenExpirationKey: time.Now().Add(ttl).UTC().Format(time.RFC3339),
			},
		})
		require.NoError(t, err)
	}
	token("abcdef", "0123456789abcdef", time.Hour)
	token("expire", "0123456789abcdef", -time.Second)
	_, err := client.ConfigMaps.Create(c.ctx, c.admin, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: bootstrapapi.ConfigMapClusterInfo},
		Data:       map[string]string{bootstrapapi.KubeConfigKey: "the kubeconfig"},
	})
	require.NoError(t, err)
	awaitOne(t, c, client.ConfigMaps, metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo, func(cm *corev1.ConfigMap) error {
		if !jws.DetachedTokenIsValid(cm.Data[bootstrapapi.JWSSignatureKeyPrefix+"abcdef"], "the kubeconfig", "abcdef", "0123456789abcdef") || len(cm.Data) != 2 {
			return fmt.Errorf("%v", cm.Data)
		}
		return nil
	})
	gone(t, c, client.Secrets, metav1.NamespaceSystem, bootstrapapi.BootstrapTokenSecretPrefix+"expire")
}

func aggregation(t *testing.T, c *cluster) {
	_, err := client.ClusterRoles.Create(c.ctx, c.admin, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "more-view", Labels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"example.com"}, Resources: []string{"things"}, Verbs: []string{"get"}}},
	})
	require.NoError(t, err)
	for _, name := range []string{"view", "edit", "admin"} {
		awaitOne(t, c, client.ClusterRoles, "", name, func(r *rbacv1.ClusterRole) error {
			things := slices.ContainsFunc(r.Rules, func(x rbacv1.PolicyRule) bool { return slices.Contains(x.Resources, "things") })
			pods := slices.ContainsFunc(r.Rules, func(x rbacv1.PolicyRule) bool { return slices.Contains(x.Resources, "pods") })
			if !things || !pods {
				return fmt.Errorf("%d rules, things %t, pods %t", len(r.Rules), things, pods)
			}
			return nil
		})
	}
}

// pod makes a pod that is bound to a node.
func (c *cluster) pod(t *testing.T, ns, name, node string, tolerations ...corev1.Toleration) *corev1.Pod {
	t.Helper()
	spec := template("p", "i").Spec
	spec.NodeName, spec.Tolerations = node, tolerations
	p, err := client.Pods.Create(c.ctx, c.admin, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec})
	require.NoError(t, err)
	return p
}

func eviction(t *testing.T, c *cluster) {
	ns := c.namespace(t, "eviction")
	c.node(t, "evicting", nil)
	taint := func(taints ...corev1.Taint) {
		_, err := client.Nodes.Modify(c.ctx, c.admin, "", "evicting", func(n *corev1.Node) bool { n.Spec.Taints = taints; return true })
		require.NoError(t, err)
	}
	evict := corev1.Taint{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute}
	seconds := func(n int64) corev1.Toleration {
		return corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &n}
	}
	c.pod(t, ns, "short", "evicting", seconds(1))
	c.pod(t, ns, "long", "evicting", seconds(3600))
	c.pod(t, ns, "stays", "evicting", corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists})
	c.pod(t, ns, "goes", "evicting")
	taint(evict)
	deleting := func(p *corev1.Pod) error {
		if p.DeletionTimestamp == nil {
			return fmt.Errorf("not being deleted")
		}
		if !slices.ContainsFunc(p.Status.Conditions, func(x corev1.PodCondition) bool {
			return x.Type == corev1.DisruptionTarget && x.Reason == "DeletionByTaintManager"
		}) {
			return fmt.Errorf("%+v", p.Status.Conditions)
		}
		return nil
	}
	awaitOne(t, c, client.Pods, ns, "goes", deleting)
	awaitOne(t, c, client.Pods, ns, "short", deleting)
	taint()
	await(t, c, client.Events, ns, func(all []*corev1.Event) error {
		if !slices.ContainsFunc(all, func(e *corev1.Event) bool { return e.Message == "Cancelling deletion of Pod "+ns+"/long" }) {
			return fmt.Errorf("not cancelled")
		}
		return nil
	})
	for _, name := range []string{"long", "stays"} {
		p, err := client.Pods.Get(c.ctx, c.admin, ns, name)
		require.NoError(t, err)
		require.Nil(t, p.DeletionTimestamp, name)
	}
}

func silentNode(t *testing.T, c *cluster) {
	ns := c.namespace(t, "silent")
	c.node(t, "silent", nil)
	c.pod(t, ns, "p", "silent")
	_, err := client.Pods.Modify(c.ctx, c.admin, ns, "p", func(p *corev1.Pod) bool {
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		return true
	}, "status")
	require.NoError(t, err)
	beat := time.NewTicker(500 * time.Millisecond) // another node lives on, or all would look dead
	defer beat.Stop()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-beat.C:
				_, err := client.Nodes.Modify(c.ctx, c.admin, "", "evicting", func(n *corev1.Node) bool {
					n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(time.Now().Round(0))}}
					return true
				}, "status")
				if err != nil && c.ctx.Err() == nil {
					t.Errorf("heartbeat: %v", err)
				}
			}
		}
	}()
	awaitOne(t, c, client.Nodes, "", "silent", func(n *corev1.Node) error {
		for _, cond := range n.Status.Conditions {
			if cond.Status != corev1.ConditionUnknown {
				return fmt.Errorf("%s is %s", cond.Type, cond.Status)
			}
		}
		for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
			if !slices.ContainsFunc(n.Spec.Taints, func(x corev1.Taint) bool { return x.Key == corev1.TaintNodeUnreachable && x.Effect == effect }) {
				return fmt.Errorf("taints: %v", n.Spec.Taints)
			}
		}
		return nil
	})
	awaitOne(t, c, client.Pods, ns, "p", func(p *corev1.Pod) error {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status != corev1.ConditionFalse {
				return fmt.Errorf("still ready")
			}
		}
		return nil
	})
	c.ready(t, "silent", corev1.ConditionTrue)
	awaitOne(t, c, client.Nodes, "", "silent", func(n *corev1.Node) error {
		if len(n.Spec.Taints) > 0 {
			return fmt.Errorf("taints: %v", n.Spec.Taints)
		}
		return nil
	})
}

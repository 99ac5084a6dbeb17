package controllermanager_test

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest/whole"
	"hyperkube/roles/controllermanager"
)

const patience = 30 * time.Second

// cluster is an API server with access control, a controller manager, and nodes that only pretend.
type cluster struct {
	*whole.Server
	admin client.Interface
	inf   *client.Informers
	ctx   context.Context
	stop  context.CancelFunc
}

func start(t *testing.T, change func(*cluster, *controllermanager.Config)) *cluster {
	t.Helper()
	return startOn(t, func(*server.Config) {}, change)
}

// startOn is start with a look at, or a change of, the server's configuration.
func startOn(t *testing.T, look func(*server.Config), change func(*cluster, *controllermanager.Config)) *cluster {
	t.Helper()
	api := whole.Start(t, whole.Config{Look: look, Anonymous: true})
	ctx, cancel := context.WithCancel(context.Background())
	c := &cluster{Server: api, admin: api.Admin(), ctx: ctx, stop: cancel}
	c.inf = client.NewInformers(c.admin)
	c.inf.Start(ctx)
	t.Cleanup(cancel)
	cfg := controllermanager.Config{
		As:                    func(u user.Info) client.Interface { return api.Direct(u) },
		Controllers:           []string{"*", "bootstrap-signer-controller", "token-cleaner-controller"},
		Serving:               controllermanager.Serving{Port: -1},
		AllocateNodeCIDRs:     true,
		ClusterCIDRs:          []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Signing:               map[string]controllermanager.Authority{"": {CertFile: api.Files.CA.CertFile, KeyFile: api.Files.CA.KeyFile}},
		RootCAFile:            api.Files.CA.CertFile,
		ServiceAccountKeyFile: api.Files.ServiceAccountKey,
	}
	if change != nil {
		change(c, &cfg)
	}
	role, err := controllermanager.New(cfg)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- role.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	select {
	case <-role.Ready():
	case err := <-done:
		t.Fatalf("the controller manager ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the controller manager did not become ready")
	}
	return c
}

// node registers a ready node with a lease, as a kubelet does.
func (c *cluster) node(t *testing.T, name string, labels map[string]string) *corev1.Node {
	t.Helper()
	n, err := client.Nodes.Create(c.ctx, c.admin, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	require.NoError(t, err)
	return c.ready(t, n.Name, corev1.ConditionTrue)
}

func (c *cluster) ready(t *testing.T, name string, status corev1.ConditionStatus) *corev1.Node {
	t.Helper()
	n, err := client.Nodes.Modify(c.ctx, c.admin, "", name, func(n *corev1.Node) bool {
		now := metav1.Now()
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Reason: "Test", LastHeartbeatTime: now, LastTransitionTime: now}}
		n.Status.Allocatable = corev1.ResourceList{}
		return true
	}, "status")
	require.NoError(t, err)
	return n
}

// pretend binds pods and reports them running, and removes them when they are deleted. Pods with the label "broken" never
// become ready; those with the label "ends" end in that phase.
func (c *cluster) pretend(t *testing.T, nodes ...string) {
	t.Helper()
	q := client.NewQueue[object.Key]("pretended kubelet")
	pods := client.InformerFor(c.inf, client.Pods)
	pods.OnChange(func(_, new *corev1.Pod) {
		if new != nil {
			q.Add(object.KeyOf(new))
		}
	})
	var next atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.RunWorkers(c.ctx, q, 2, func(ctx context.Context, key object.Key) error {
			p, ok := pods.Get(key.Namespace, key.Name)
			if !ok {
				return nil
			}
			n := next.Add(1)
			return c.advance(ctx, p, nodes[int(n)%len(nodes)], n)
		})
	}()
	t.Cleanup(func() {
		c.stop()
		<-done
	})
}

func (c *cluster) advance(ctx context.Context, p *corev1.Pod, node string, n int64) error {
	ignore := func(err error) error {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	}
	switch {
	case p.DeletionTimestamp != nil:
		return ignore(c.admin.Delete(ctx, client.Pods.GVR, p.Namespace, p.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}))
	case p.Spec.NodeName == "":
		if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			node = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
		}
		_, err := c.admin.Create(ctx, client.Pods.GVR, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{}, "binding")
		return ignore(err)
	case p.Status.PodIP == "":
		_, err := client.Pods.Modify(ctx, c.admin, p.Namespace, p.Name, func(p *corev1.Pod) bool {
			ready := corev1.ConditionTrue
			if _, broken := p.Labels["broken"]; broken {
				ready = corev1.ConditionFalse
			}
			now := metav1.Now()
			p.Status.Phase = corev1.PodRunning
			ip := netip.AddrFrom4([4]byte{10, 244, byte(n >> 8), byte(n)}).String()
			p.Status.PodIP, p.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: ready, LastTransitionTime: now})
			return true
		}, "status")
		return ignore(err)
	case p.Status.Phase == corev1.PodRunning && p.Labels["ends"] != "":
		_, err := client.Pods.Modify(ctx, c.admin, p.Namespace, p.Name, func(p *corev1.Pod) bool {
			p.Status.Phase = corev1.PodPhase(p.Labels["ends"])
			return true
		}, "status")
		return ignore(err)
	}
	return nil
}

// await waits until the objects of a namespace are as wanted. Each change is judged; want gives an error as long as it is not.
func await[T client.Object](t *testing.T, c *cluster, r client.Resource[T], namespace string, want func([]T) error) []T {
	t.Helper()
	inf := client.InformerFor(c.inf, r)
	changed := make(chan struct{}, 1)
	inf.OnChange(func(_, _ T) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	require.NoError(t, inf.WaitForSync(c.ctx))
	deadline := time.After(patience)
	for {
		all := inf.List()
		if namespace != "" {
			all = inf.InNamespace(namespace)
		}
		err := want(all)
		if err == nil {
			return all
		}
		select {
		case <-changed:
		case <-deadline:
			for _, o := range all {
				t.Logf("%s: %+v", o.GetName(), o)
			}
			t.Fatalf("%s in %q: %v", r.GVR.Resource, namespace, err)
		}
	}
}

// awaitOne waits for one object. o is nil while it is not there.
func awaitOne[T client.Object](t *testing.T, c *cluster, r client.Resource[T], namespace, name string, want func(o T) error) T {
	t.Helper()
	var found T
	await(t, c, r, namespace, func(all []T) error {
		for _, o := range all {
			if o.GetName() == name {
				found = o
				return want(o)
			}
		}
		return errors.New(name + " is not there")
	})
	return found
}

// gone waits until an object is not there.
func gone[T client.Object](t *testing.T, c *cluster, r client.Resource[T], namespace, name string) {
	t.Helper()
	await(t, c, r, namespace, func(all []T) error {
		for _, o := range all {
			if o.GetName() == name {
				return errors.New(name + " is still there")
			}
		}
		return nil
	})
}

func (c *cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	_, err := client.Namespaces.Create(c.ctx, c.admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	require.NoError(t, err)
	// Pods can be made when their account is there.
	awaitOne(t, c, client.ServiceAccounts, name, "default", func(*corev1.ServiceAccount) error { return nil })
	return name
}

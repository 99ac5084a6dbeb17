package programs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

// testClientGo uses what client-go offers to programs.
func testClientGo(t *testing.T, c cluster) {
	ns := c.namespace(t, "client-go")
	client := c.client(t)
	t.Run("informers", func(t *testing.T) { testInformers(t, c, ns) })
	t.Run("election", func(t *testing.T) { testElection(t, client, ns) })
	t.Run("conflicts", func(t *testing.T) { testConflicts(t, client, ns) })
	t.Run("apply", func(t *testing.T) { testApply(t, client, ns) })
	t.Run("waiting", func(t *testing.T) { testWaiting(t, client, ns) })
	t.Run("pages", func(t *testing.T) { testPages(t, client, ns) })
	t.Run("streams", func(t *testing.T) { testStreams(t, c, ns) })
}

// testElection has two candidates of which one leads, and then the other.
func testElection(t *testing.T, client kubernetes.Interface, ns string) {
	led := make(chan string, 2)
	stand := func(who string) context.CancelFunc {
		ctx, cancel := context.WithCancel(t.Context())
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: ns, Name: "election"},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: who},
			},
			ReleaseOnCancel: true, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { led <- who },
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		done.Go(func() { elector.Run(ctx) })
		return func() { cancel(); done.Wait() }
	}
	leads := func(want string) {
		t.Helper()
		select {
		case got := <-led:
			if got != want {
				t.Errorf("%s leads, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s does not lead", want)
		}
	}
	first := stand("first")
	leads("first")
	second := stand("second")
	first()
	leads("second")
	second()
	lease, err := client.CoordinationV1().Leases(ns).Get(t.Context(), "election", metav1.GetOptions{})
	if err != nil || *lease.Spec.LeaseTransitions < 1 || *lease.Spec.HolderIdentity != "" {
		t.Errorf("the lease in the end: %+v, %v", lease, err)
	}
}

// testConflicts has many writers count in one object.
func testConflicts(t *testing.T, client kubernetes.Interface, ns string) {
	maps := client.CoreV1().ConfigMaps(ns)
	count := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "count"}, Data: map[string]string{"n": "0"}}
	if _, err := maps.Create(t.Context(), count, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patient := retry.DefaultRetry
	patient.Steps = 1000
	const writers, times = 5, 10
	var all sync.WaitGroup
	var mu sync.Mutex
	conflicts := 0
	for range writers {
		all.Go(func() {
			for range times {
				err := retry.OnError(patient, func(err error) bool {
					mu.Lock()
					defer mu.Unlock()
					conflicts++
					return apierrors.IsConflict(err)
				}, func() error {
					m, err := maps.Get(t.Context(), "count", metav1.GetOptions{})
					if err != nil {
						return err
					}
					var n int
					if _, err := fmt.Sscan(m.Data["n"], &n); err != nil {
						return err
					}
					m.Data["n"] = fmt.Sprint(n + 1)
					_, err = maps.Update(t.Context(), m, metav1.UpdateOptions{})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	m, err := maps.Get(t.Context(), "count", metav1.GetOptions{})
	if err != nil || m.Data["n"] != fmt.Sprint(writers*times) {
		t.Errorf("%d writers counted to %q, %v", writers, m.Data["n"], err)
	}
	if conflicts == 0 {
		t.Log("the writers never met")
	}
}

// testApply has two owners of one object, by typed configurations.
func testApply(t *testing.T, client kubernetes.Interface, ns string) {
	deployments := client.AppsV1().Deployments(ns)
	labels := map[string]string{"app": "applied"}
	want := appsapply.Deployment("applied", ns).WithLabels(labels).WithSpec(appsapply.DeploymentSpec().WithReplicas(0).
		WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().WithContainers(
			coreapply.Container().WithName("a").WithImage(webImage), coreapply.Container().WithName("b").WithImage(webImage)))))
	mine, theirs := metav1.ApplyOptions{FieldManager: "mine"}, metav1.ApplyOptions{FieldManager: "theirs"}
	if _, err := deployments.Apply(t.Context(), want, mine); err != nil {
		t.Fatal(err)
	}
	scale := appsapply.Deployment("applied", ns).WithSpec(appsapply.DeploymentSpec().WithReplicas(1))
	_, err := deployments.Apply(t.Context(), scale, theirs)
	if !apierrors.IsConflict(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) {
		t.Errorf("taking what another has: %v, want a conflict of managers", err)
	}
	theirs.Force = true
	if _, err := deployments.Apply(t.Context(), scale, theirs); err != nil {
		t.Fatal(err)
	}
	// What one gives up, and nobody else has, goes.
	want.Spec.Replicas = nil
	want.Spec.Template.Spec.Containers = want.Spec.Template.Spec.Containers[:1]
	got, err := deployments.Apply(t.Context(), want, mine)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Spec.Replicas != 1 || len(got.Spec.Template.Spec.Containers) != 1 {
		t.Errorf("after giving up: %d replicas, containers %v", *got.Spec.Replicas, got.Spec.Template.Spec.Containers)
	}
	extracted, err := appsapply.ExtractDeployment(got, "theirs")
	if err != nil || extracted.Spec == nil || *extracted.Spec.Replicas != 1 || extracted.Spec.Template != nil {
		t.Errorf("what is theirs: %+v, %v", extracted, err)
	}
	if err := deployments.Delete(t.Context(), "applied", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// testWaiting follows one object with each of client-go's ways to wait.
func testWaiting(t *testing.T, client kubernetes.Interface, ns string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	maps := client.CoreV1().ConfigMaps(ns)
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "configmaps", ns, fields.OneTermEqualSelector("metadata.name", "awaited"))
	m, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "awaited"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	since := m.ResourceVersion
	failed := make(chan error, 1)
	go func() {
		m.Data = map[string]string{"a": "b"}
		_, err := maps.Update(ctx, m, metav1.UpdateOptions{})
		failed <- errors.Join(err, maps.Delete(ctx, "awaited", metav1.DeleteOptions{}))
	}()
	changed := func(e watch.Event) (bool, error) { return e.Type == watch.Modified, nil }
	gone := func(e watch.Event) (bool, error) { return e.Type == watch.Deleted, nil }
	if e, err := watchtools.Until(ctx, since, lw, changed, gone); err != nil || e.Object.(*corev1.ConfigMap).Data["a"] != "b" {
		t.Errorf("Until: %v, %v", e, err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "awaited"}}, metav1.CreateOptions{})
		failed <- err
	}()
	if _, err := watchtools.UntilWithSync(ctx, lw, &corev1.ConfigMap{}, nil, func(e watch.Event) (bool, error) {
		return e.Type == watch.Added, nil
	}); err != nil {
		t.Errorf("UntilWithSync: %v", err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	w, err := watchtools.NewRetryWatcherWithContext(ctx, since, lw)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for _, want := range []watch.EventType{watch.Modified, watch.Deleted, watch.Added} {
		if e := <-w.ResultChan(); e.Type != want {
			t.Errorf("RetryWatcher: %v, want %s", e, want)
		}
	}
}

// testPages reads a list in pages.
func testPages(t *testing.T, client kubernetes.Interface, ns string) {
	const n = 25
	labels := map[string]string{"many": "yes"}
	secrets := client.CoreV1().Secrets(ns)
	for range n {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "many-", Labels: labels}}
		if _, err := secrets.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pages, seen := 0, map[string]bool{}
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		pages++
		return secrets.List(ctx, o)
	})
	p.PageSize = 10
	err := p.EachListItem(t.Context(), metav1.ListOptions{LabelSelector: "many=yes"}, func(o runtime.Object) error {
		seen[o.(*corev1.Secret).Name] = true
		return nil
	})
	if err != nil || len(seen) != n || pages != 3 {
		t.Errorf("%d secrets on %d pages, %v; want %d on 3", len(seen), pages, err, n)
	}
	if err := secrets.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "many=yes"}); err != nil {
		t.Error(err)
	}
}

package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	quotaconfig "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
)

var quotas = client.Resource[*corev1.ResourceQuota]{GVR: corev1.SchemeGroupVersion.WithResource("resourcequotas")}

// enforce makes a quota whose use has been counted as nothing so far.
func enforce(t *testing.T, c client.Interface, name string, hard corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) {
	t.Helper()
	q, err := quotas.Create(t.Context(), c, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes}})
	if err != nil {
		t.Fatal(err)
	}
	q = q.DeepCopy()
	q.Status.Hard, q.Status.Used = hard, corev1.ResourceList{}
	for k := range hard {
		q.Status.Used[k] = resource.MustParse("0")
	}
	if _, err := quotas.UpdateStatus(t.Context(), c, q); err != nil {
		t.Fatal(err)
	}
}

func amount(n string) resource.Quantity { return resource.MustParse(n) }

func plainPod(name, cpu string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if cpu != "" {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": amount(cpu)}
	}
	return p
}

// However many writers there are, a quota admits as many as it says and refuses the others with the numbers.
func TestQuotaIsExactUnderConcurrency(t *testing.T) {
	api := servertest.Start(t, nil)
	c := api.Admin()
	enforce(t, c, "all", corev1.ResourceList{"pods": amount("30")})
	enforce(t, c, "best-effort", corev1.ResourceList{"pods": amount("10")}, corev1.ResourceQuotaScopeBestEffort)
	enforce(t, c, "cpu", corev1.ResourceList{"requests.cpu": amount("1")}, corev1.ResourceQuotaScopeNotBestEffort)
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := map[string]int{}
	for i := range 200 {
		kind, cpu := "best-effort", ""
		if i%2 == 1 {
			kind, cpu = "cpu", "100m"
		}
		wg.Go(func() {
			_, err := client.Pods.Create(t.Context(), c, plainPod(fmt.Sprintf("%s-%d", kind, i), cpu))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				admitted[kind]++
			case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: "):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if admitted["best-effort"] != 10 || admitted["cpu"] != 10 {
		t.Fatalf("admitted %v, want 10 of each", admitted)
	}
	for name, want := range map[string]corev1.ResourceList{"all": {"pods": amount("20")}, "best-effort": {"pods": amount("10")}, "cpu": {"requests.cpu": amount("1")}} {
		q, err := quotas.Get(t.Context(), c, "default", name)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if used := q.Status.Used[k]; used.Cmp(v) != 0 {
				t.Errorf("quota %s says that %s of %s is used, want %s", name, used.String(), k, v.String())
			}
		}
	}
	_, err := client.Pods.Create(t.Context(), c, plainPod("more", ""))
	const says = `pods "more" is forbidden: exceeded quota: best-effort, requested: pods=1, used: pods=10, limited: pods=10`
	if err == nil || err.Error() != says {
		t.Fatalf("got %v\nwant %s", err, says)
	}
	if err := quotas.Delete(t.Context(), c, "default", "cpu"); err != nil {
		t.Fatal(err)
	}
	enforce(t, c, "memory", corev1.ResourceList{"requests.memory": amount("1Gi"), "requests.cpu": amount("4")})
	_, err = client.Pods.Create(t.Context(), c, plainPod("more", "1m"))
	if err == nil || !strings.Contains(err.Error(), "failed quota: memory: must specify requests.memory for: c") {
		t.Fatal(err)
	}
}

// A write that one quota refuses takes nothing from another, not even for a moment: whoever still fits is let in, however many
// others are refused at the same time.
func TestQuotaRefusalsDoNotCrowdOut(t *testing.T) {
	api := servertest.Start(t, nil)
	c := api.Admin()
	enforce(t, c, "all", corev1.ResourceList{"pods": amount("2")})
	enforce(t, c, "cpu", corev1.ResourceList{"requests.cpu": amount("1")}, corev1.ResourceQuotaScopeNotBestEffort)
	if _, err := client.Pods.Create(t.Context(), c, plainPod("first", "1")); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := client.Pods.Create(t.Context(), c, plainPod(fmt.Sprintf("refused-%d", i), "1")); !apierrors.IsForbidden(err) {
					t.Errorf("got %v, want a refusal", err)
				}
			})
		}
		wg.Go(func() {
			if _, err := client.Pods.Create(t.Context(), c, plainPod(fmt.Sprintf("fits-%d", round), "")); err != nil {
				t.Errorf("a pod that fits: %v", err)
			}
		})
		wg.Wait()
		q, err := quotas.Get(t.Context(), c, "default", "all")
		if err != nil {
			t.Fatal(err)
		}
		q = q.DeepCopy()
		q.Status.Used["pods"] = amount("1") // as if the one that fitted were gone
		if _, err := quotas.UpdateStatus(t.Context(), c, q); err != nil {
			t.Fatal(err)
		}
	}
}

// What the configuration keeps for namespaces with a quota for it is refused in all others.
func TestLimitedResourcesNeedAQuota(t *testing.T) {
	critical := corev1.ScopedResourceSelectorRequirement{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{"critical"}}
	api := servertest.Start(t, func(cfg *server.Config) {
		cfg.Wire = func(_ client.Interface, p *server.Parts) error {
			p.Limited = []quotaconfig.LimitedResource{
				{Resource: "pods", MatchScopes: []corev1.ScopedResourceSelectorRequirement{critical}},
				{Resource: "services", MatchContains: []string{"nodeports"}},
			}
			return nil
		}
	})
	c := api.Admin()
	pod := plainPod("p", "")
	pod.Spec.PriorityClassName = "critical"
	create := func() error { _, err := client.Pods.Create(t.Context(), c, pod); return err }
	if err := create(); err == nil || !strings.Contains(err.Error(), "insufficient quota to match these scopes: [{PriorityClass In [critical]}]") {
		t.Fatal(err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := client.Services.Create(t.Context(), c, service); err == nil || !strings.Contains(err.Error(), "insufficient quota to consume: services.nodeports") {
		t.Fatal(err)
	}
	hard := corev1.ResourceList{"pods": amount("1")}
	q, err := quotas.Create(t.Context(), c, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "q"}, Spec: corev1.ResourceQuotaSpec{
		Hard: hard, ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{critical}}}})
	if err != nil {
		t.Fatal(err)
	}
	q = q.DeepCopy()
	q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{"pods": amount("0")}}
	if _, err := quotas.UpdateStatus(t.Context(), c, q); err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
}

package server_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

// A pod that finalizers keep must say that its grace is over once its node has ended it; it goes with the last finalizer.
func TestPodWithFinalizerEndsItsGrace(t *testing.T) {
	api := servertest.Start(t, nil)
	w := newWeb(t, api.REST)
	admin := api.Admin()
	const pods = "/api/v1/namespaces/default/pods"
	for _, step := range []struct{ method, path, body string }{
		{"POST", pods, `{"metadata":{"name":"p","finalizers":["example.com/keep"]},"spec":{"containers":[{"name":"c","image":"i"}]}}`},
		{"POST", pods + "/p/binding", `{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}`},
		{"DELETE", pods + "/p", ""},
	} {
		if res, body := w.do(step.method, step.path, step.body); res.StatusCode > 202 {
			t.Fatalf("%s %s: %d %s", step.method, step.path, res.StatusCode, body)
		}
	}
	before, err := client.Pods.Get(t.Context(), admin, "default", "p")
	if err != nil || *before.DeletionGracePeriodSeconds != 30 {
		t.Fatal(before, err)
	}
	if res, body := w.do("DELETE", pods+"/p?gracePeriodSeconds=0", ""); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	after, err := client.Pods.Get(t.Context(), admin, "default", "p")
	if err != nil {
		t.Fatal(err)
	}
	if *after.DeletionGracePeriodSeconds != 0 || after.DeletionTimestamp.After(time.Now()) || after.Generation != before.Generation {
		t.Errorf("grace %d until %s, generation %d after %d", *after.DeletionGracePeriodSeconds, after.DeletionTimestamp, after.Generation, before.Generation)
	}
	if _, err := admin.Patch(t.Context(), client.Pods.GVR, "default", "p", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Pods.Get(t.Context(), admin, "default", "p"); !apierrors.IsNotFound(err) {
		t.Errorf("the pod without finalizers is still there: %v", err)
	}
}

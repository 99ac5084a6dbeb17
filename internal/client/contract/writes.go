package contract

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

func lifeOfAnObject(t *testing.T, s *suite) {
	in := s.configMap("a", "k", "v")
	made := s.create(in)
	if made.UID == "" || made.ResourceVersion == "" || made.CreationTimestamp.IsZero() || made.Data["k"] != "v" {
		t.Fatalf("made %+v", made)
	}
	if in.UID != "" || in.ResourceVersion != "" {
		t.Fatal("the object given was changed")
	}
	got, err := client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	if err != nil || got.UID != made.UID || got.ResourceVersion != made.ResourceVersion {
		t.Fatalf("got %+v %v", got, err)
	}
	next := got.DeepCopy()
	next.Data["k"] = "w"
	updated, err := client.ConfigMaps.Update(s.ctx, s.c, next)
	if err != nil || updated.Data["k"] != "w" || updated.ResourceVersion == made.ResourceVersion || updated.UID != made.UID {
		t.Fatalf("updated %+v %v", updated, err)
	}
	same, err := client.ConfigMaps.Update(s.ctx, s.c, updated.DeepCopy())
	if err != nil || same.ResourceVersion != updated.ResourceVersion {
		t.Fatalf("an update that changes nothing was written: %v %v", same, err)
	}
	if err := client.ConfigMaps.Delete(s.ctx, s.c, s.ns, "a"); err != nil {
		t.Fatal(err)
	}
	_, err = client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	s.want(err, apierrors.IsNotFound, "not found")
	s.want(client.ConfigMaps.Delete(s.ctx, s.c, s.ns, "a"), apierrors.IsNotFound, "not found")
}

func generatedNames(t *testing.T, s *suite) {
	seen := map[string]bool{}
	for range 20 {
		cm := s.configMap("")
		cm.GenerateName = "gen-"
		got := s.create(cm)
		if !strings.HasPrefix(got.Name, "gen-") || len(got.Name) != len("gen-")+5 || seen[got.Name] {
			t.Fatalf("name %q", got.Name)
		}
		seen[got.Name] = true
	}
}

func conflicts(t *testing.T, s *suite) {
	first := s.create(s.configMap("a"))
	_, err := client.ConfigMaps.Create(s.ctx, s.c, s.configMap("a"))
	s.want(err, apierrors.IsAlreadyExists, "already exists")

	second := first.DeepCopy()
	second.Data = map[string]string{"x": "1"}
	if _, err := client.ConfigMaps.Update(s.ctx, s.c, second); err != nil {
		t.Fatal(err)
	}
	stale := first.DeepCopy()
	stale.Data = map[string]string{"x": "2"}
	_, err = client.ConfigMaps.Update(s.ctx, s.c, stale)
	s.want(err, apierrors.IsConflict, "a conflict")
	if want := `Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again`; err.Error() != want {
		t.Errorf("text %q", err)
	}
	stale.ResourceVersion = ""
	if got, err := client.ConfigMaps.Update(s.ctx, s.c, stale); err != nil || got.Data["x"] != "2" {
		t.Fatalf("unconditional update: %v %v", got, err)
	}
	other := s.configMap("a")
	other.UID = "11111111-2222-3333-4444-555555555555"
	_, err = client.ConfigMaps.Update(s.ctx, s.c, other)
	s.want(err, apierrors.IsConflict, "a conflict of uids")
}

func manyWriters(t *testing.T, s *suite) {
	s.create(s.configMap("a", "n", "0"))
	const writers, times = 8, 10
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			for range times {
				var err error
				if i%2 == 0 {
					_, err = client.ConfigMaps.Modify(s.ctx, s.c, s.ns, "a", func(cm *corev1.ConfigMap) bool {
						n := 0
						fmt.Sscan(cm.Data["n"], &n)
						cm.Data["n"] = fmt.Sprint(n + 1)
						return true
					})
				} else {
					// A patch that names no version is made again on the newest state by the server.
					_, err = client.ConfigMaps.MergePatch(s.ctx, s.c, s.ns, "a", map[string]any{"data": map[string]string{fmt.Sprint("w", i): "x"}})
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	got, err := client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	if err != nil || got.Data["n"] != fmt.Sprint(writers/2*times) || len(got.Data) != 1+writers/2 {
		t.Fatalf("%v %v", got.Data, err)
	}
}

func preconditions(t *testing.T, s *suite) {
	made := s.create(s.configMap("a"))
	wrong, right := types.UID("no"), made.UID
	err := s.c.Delete(s.ctx, client.ConfigMaps.GVR, s.ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}})
	s.want(err, apierrors.IsConflict, "a conflict")
	old := "1"
	err = s.c.Delete(s.ctx, client.ConfigMaps.GVR, s.ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}})
	s.want(err, apierrors.IsConflict, "a conflict")
	if err := s.c.Delete(s.ctx, client.ConfigMaps.GVR, s.ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &right}}); err != nil {
		t.Fatal(err)
	}
}

func dryRuns(t *testing.T, s *suite) {
	all := []string{metav1.DryRunAll}
	got, err := s.c.Create(s.ctx, client.ConfigMaps.GVR, s.configMap("a"), metav1.CreateOptions{DryRun: all})
	if err != nil || got.GetUID() == "" {
		t.Fatal(got, err)
	}
	_, err = client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	s.want(err, apierrors.IsNotFound, "nothing stored")
	made := s.create(s.configMap("a"))
	next := made.DeepCopy()
	next.Data = map[string]string{"x": "1"}
	if got, err = s.c.Update(s.ctx, client.ConfigMaps.GVR, next, metav1.UpdateOptions{DryRun: all}); err != nil || got.(*corev1.ConfigMap).Data["x"] != "1" {
		t.Fatal(got, err)
	}
	if _, err = s.c.Patch(s.ctx, client.ConfigMaps.GVR, s.ns, "a", types.MergePatchType, []byte(`{"data":{"x":"1"}}`), metav1.PatchOptions{DryRun: all}); err != nil {
		t.Fatal(err)
	}
	if err := s.c.Delete(s.ctx, client.ConfigMaps.GVR, s.ns, "a", metav1.DeleteOptions{DryRun: all}); err != nil {
		t.Fatal(err)
	}
	after, err := client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	if err != nil || after.ResourceVersion != made.ResourceVersion {
		t.Fatal(after, err)
	}
	_, err = s.c.Create(s.ctx, client.ConfigMaps.GVR, s.configMap("b"), metav1.CreateOptions{DryRun: []string{"Some"}})
	s.want(err, apierrors.IsInvalid, "invalid options")
}

func patches(t *testing.T, s *suite) {
	made := s.create(s.configMap("a", "k", "v"))
	for _, p := range []struct {
		kind types.PatchType
		body string
		want string
	}{
		{types.MergePatchType, `{"data":{"k":null,"m":"1"}}`, "map[m:1]"},
		{types.JSONPatchType, `[{"op":"add","path":"/data/j","value":"2"}]`, "map[j:2 m:1]"},
		{types.StrategicMergePatchType, `{"data":{"s":"3","$patch":"replace"}}`, "map[s:3]"},
	} {
		got, err := s.c.Patch(s.ctx, client.ConfigMaps.GVR, s.ns, "a", p.kind, []byte(p.body), metav1.PatchOptions{})
		if err != nil {
			t.Fatalf("%s: %v", p.kind, err)
		}
		if data := fmt.Sprint(got.(*corev1.ConfigMap).Data); data != p.want {
			t.Errorf("%s gave %s, want %s", p.kind, data, p.want)
		}
	}
	patch := func(kind types.PatchType, body string) error {
		_, err := s.c.Patch(s.ctx, client.ConfigMaps.GVR, s.ns, "a", kind, []byte(body), metav1.PatchOptions{})
		return err
	}
	s.want(patch(types.MergePatchType, `{"metadata":{"resourceVersion":"`+made.ResourceVersion+`"},"data":{"x":"y"}}`), apierrors.IsConflict, "a conflict")
	s.want(patch(types.MergePatchType, `{"metadata":{"name":"b"}}`), apierrors.IsBadRequest, "a bad request")
	s.want(patch(types.JSONPatchType, `[{"op":"test","path":"/data/s","value":"no"}]`), apierrors.IsInvalid, "unprocessable")
	s.want(patch("application/nonsense", `{}`), apierrors.IsUnsupportedMediaType, "an unsupported media type")
}

func finalizers(t *testing.T, s *suite) {
	cm := s.configMap("a")
	cm.Finalizers = []string{"example.com/hold"}
	s.create(cm)
	if err := client.ConfigMaps.Delete(s.ctx, s.c, s.ns, "a"); err != nil {
		t.Fatal(err)
	}
	got, err := client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	if err != nil || got.DeletionTimestamp == nil {
		t.Fatal(got, err)
	}
	next := got.DeepCopy()
	next.Finalizers = nil
	if _, err := client.ConfigMaps.Update(s.ctx, s.c, next); err != nil {
		t.Fatal(err)
	}
	_, err = client.ConfigMaps.Get(s.ctx, s.c, s.ns, "a")
	s.want(err, apierrors.IsNotFound, "gone with its last finalizer")

	s.create(s.configMap("b"))
	foreground := metav1.DeletePropagationForeground
	if err := s.c.Delete(s.ctx, client.ConfigMaps.GVR, s.ns, "b", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	got, err = client.ConfigMaps.Get(s.ctx, s.c, s.ns, "b")
	if err != nil || len(got.Finalizers) != 1 || got.Finalizers[0] != metav1.FinalizerDeleteDependents {
		t.Fatal(got, err)
	}
	if _, err := client.ConfigMaps.MergePatch(s.ctx, s.c, s.ns, "b", map[string]any{"metadata": map[string]any{"finalizers": nil}}); err != nil {
		t.Fatal(err)
	}
	_, err = client.ConfigMaps.Get(s.ctx, s.c, s.ns, "b")
	s.want(err, apierrors.IsNotFound, "gone")
}

func mistakes(t *testing.T, s *suite) {
	_, err := client.ConfigMaps.Get(s.ctx, s.c, s.ns, "none")
	s.want(err, apierrors.IsNotFound, "not found")
	var st apierrors.APIStatus
	if !errors.As(err, &st) || st.Status().Details == nil || st.Status().Details.Name != "none" || st.Status().Details.Kind != "configmaps" {
		t.Errorf("details of %v", err)
	}
	_, err = client.ConfigMaps.Create(s.ctx, s.c, s.configMap(""))
	s.want(err, apierrors.IsInvalid, "invalid: no name")
	_, err = s.c.List(s.ctx, client.GVR{Group: "nobody.example.com", Version: "v1", Resource: "things"}, "", metav1.ListOptions{})
	s.want(err, apierrors.IsNotFound, "not found")
	set := s.configMap("x")
	set.ResourceVersion = "5"
	if _, err := client.ConfigMaps.Create(s.ctx, s.c, set); err == nil {
		t.Error("created with a resourceVersion")
	}
	_, err = client.ConfigMaps.Update(s.ctx, s.c, s.configMap("none"))
	s.want(err, apierrors.IsNotFound, "not found")
}

func versionsOfAKind(t *testing.T, s *suite) {
	now := metav1.NewMicroTime(time.Now().Truncate(time.Second))
	newEvents := eventsv1.SchemeGroupVersion.WithResource("events")
	in := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: s.ns}, EventTime: now,
		ReportingController: "example.com/test", ReportingInstance: "i", Action: "Act", Reason: "Why", Note: "note", Type: "Normal",
		Regarding: corev1.ObjectReference{Kind: "ConfigMap", Namespace: s.ns, Name: "a"}}
	got, err := s.c.Create(s.ctx, newEvents, in, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := got.(*eventsv1.Event); !ok || e.Note != "note" {
		t.Fatalf("got %+v", got)
	}
	old, err := client.Events.Get(s.ctx, s.c, s.ns, "e")
	if err != nil || old.Message != "note" || old.InvolvedObject.Name != "a" {
		t.Fatalf("as core/v1: %+v %v", old, err)
	}
	l, err := s.c.List(s.ctx, newEvents, s.ns, metav1.ListOptions{})
	if err != nil || len(l.Items) != 1 || l.Items[0].(*eventsv1.Event).Reason != "Why" {
		t.Fatalf("list: %+v %v", l, err)
	}
}

func resources(t *testing.T, s *suite) {
	rs, err := s.c.Resources(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]metav1.APIResource{}
	for _, r := range rs {
		found[r.Group+"/"+r.Version+"/"+r.Name] = r
	}
	for _, want := range []string{"/v1/pods", "/v1/namespaces", "apps/v1/deployments", "autoscaling/v2/horizontalpodautoscalers"} {
		if _, ok := found[want]; !ok {
			t.Errorf("no %s among %d", want, len(rs))
		}
	}
	if r := found["/v1/pods"]; !r.Namespaced || r.Kind != "Pod" {
		t.Errorf("pods: %+v", r)
	}
}

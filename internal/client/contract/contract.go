// Package contract is what every implementation of client.Interface must do: one suite, run through the
// direct door and over REST against a real server.
package contract

import (
	"context"
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
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
)

// Run holds c to the contract. c needs all rights on a server that was just started.
func Run(t *testing.T, c client.Interface) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"life of an object", lifeOfAnObject},
		{"generated names", generatedNames},
		{"conflicts", conflicts},
		{"many writers", manyWriters},
		{"preconditions", preconditions},
		{"dry runs", dryRuns},
		{"patches", patches},
		{"pages", pages},
		{"selectors", selectors},
		{"watch", watches},
		{"watch with initial events", watchList},
		{"watch from the past", watchFromThePast},
		{"finalizers", finalizers},
		{"delete a collection", deleteCollection},
		{"mistakes", mistakes},
		{"versions of a kind", versionsOfAKind},
		{"resources", resources},
		{"documents", documents},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			s := &suite{T: t, c: c, ctx: ctx, ns: "contract-" + strings.ReplaceAll(test.name, " ", "-")}
			if _, err := client.Namespaces.Create(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.ns}}); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
			test.run(t, s)
		})
	}
}

type suite struct {
	*testing.T
	c   client.Interface
	ctx context.Context
	ns  string
}

func (s *suite) configMap(name string, data ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.ns}, Data: map[string]string{}}
	for i := 0; i+1 < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	return cm
}

func (s *suite) create(cm *corev1.ConfigMap) *corev1.ConfigMap {
	s.Helper()
	got, err := client.ConfigMaps.Create(s.ctx, s.c, cm)
	if err != nil {
		s.Fatalf("create %s: %v", cm.Name, err)
	}
	return got
}

func (s *suite) want(err error, is func(error) bool, what string) {
	s.Helper()
	if !is(err) {
		s.Fatalf("got %v, want %s", err, what)
	}
}

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

func pages(t *testing.T, s *suite) {
	for i := range 25 {
		s.create(s.configMap(fmt.Sprintf("p%02d", i)))
	}
	var names []string
	var rv string
	o := metav1.ListOptions{Limit: 10}
	for {
		l, err := s.c.List(s.ctx, client.ConfigMaps.GVR, s.ns, o)
		if err != nil {
			t.Fatal(err)
		}
		if rv == "" {
			rv = l.ResourceVersion
			s.create(s.configMap("p99"))
		}
		if l.ResourceVersion != rv {
			t.Errorf("a page at %s, the first at %s", l.ResourceVersion, rv)
		}
		for _, i := range l.Items {
			if i.GetName() != "kube-root-ca.crt" {
				names = append(names, i.GetName())
			}
		}
		if l.Continue == "" {
			if l.RemainingItemCount != nil {
				t.Error("items remain at the end")
			}
			break
		}
		if l.RemainingItemCount == nil {
			t.Error("no remaining item count")
		}
		o.Continue = l.Continue
	}
	if len(names) != 25 || names[0] != "p00" || names[24] != "p24" {
		t.Errorf("names %v", names)
	}
}

func selectors(t *testing.T, s *suite) {
	for i, v := range []string{"x", "y", "x"} {
		cm := s.configMap(fmt.Sprint("c", i))
		cm.Labels = map[string]string{"l": v}
		s.create(cm)
	}
	for _, q := range []struct {
		o    metav1.ListOptions
		want int
	}{
		{metav1.ListOptions{LabelSelector: "l=x"}, 2},
		{metav1.ListOptions{LabelSelector: "l in (y,z)"}, 1},
		{metav1.ListOptions{LabelSelector: "l,l!=x"}, 1},
		{metav1.ListOptions{FieldSelector: "metadata.name=c1"}, 1},
		{metav1.ListOptions{FieldSelector: "metadata.name!=c1", LabelSelector: "l"}, 2},
	} {
		l, err := s.c.List(s.ctx, client.ConfigMaps.GVR, s.ns, q.o)
		if err != nil || len(l.Items) != q.want {
			t.Errorf("%+v: %v %v", q.o, l, err)
		}
	}
	_, err := s.c.List(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{FieldSelector: "data.k=v"})
	s.want(err, apierrors.IsBadRequest, "a bad request")
}

// next waits for an event.
func (s *suite) next(w watch.Interface) watch.Event {
	s.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			s.Fatal("the watch has ended")
		}
		return e
	case <-s.ctx.Done():
		s.Fatal("no event")
	}
	return watch.Event{}
}

func (s *suite) expect(w watch.Interface, want watch.EventType, name string) client.Object {
	s.Helper()
	e := s.next(w)
	o, ok := e.Object.(client.Object)
	if !ok || e.Type != want || o.GetName() != name {
		s.Fatalf("event %s %+v, want %s %s", e.Type, e.Object, want, name)
	}
	return o
}

func watches(t *testing.T, s *suite) {
	_, rv, err := client.ConfigMaps.List(s.ctx, s.c, s.ns, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.c.Watch(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{ResourceVersion: rv, LabelSelector: "l=x"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	cm := s.configMap("a")
	s.create(s.configMap("unseen"))
	made := s.create(cm)
	update := func(label, value string) *corev1.ConfigMap {
		next := made.DeepCopy()
		next.Labels = map[string]string{"l": label}
		next.Data = map[string]string{"v": value}
		if made, err = client.ConfigMaps.Update(s.ctx, s.c, next); err != nil {
			t.Fatal(err)
		}
		return made
	}
	in := update("x", "1")
	if o := s.expect(w, watch.Added, "a"); o.GetResourceVersion() != in.ResourceVersion {
		t.Errorf("event at %s, written at %s", o.GetResourceVersion(), in.ResourceVersion)
	}
	update("x", "2")
	s.expect(w, watch.Modified, "a")
	out := update("y", "3")
	if o := s.expect(w, watch.Deleted, "a"); o.GetResourceVersion() != out.ResourceVersion {
		t.Errorf("left at %s, written at %s", o.GetResourceVersion(), out.ResourceVersion)
	}
	update("x", "4")
	s.expect(w, watch.Added, "a")
	if err := client.ConfigMaps.Delete(s.ctx, s.c, s.ns, "a"); err != nil {
		t.Fatal(err)
	}
	s.expect(w, watch.Deleted, "a")
}

func watchList(t *testing.T, s *suite) {
	s.create(s.configMap("a"))
	s.create(s.configMap("b"))
	yes := true
	w, err := s.c.Watch(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{SendInitialEvents: &yes,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true, FieldSelector: "metadata.name!=kube-root-ca.crt"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s.expect(w, watch.Added, "a")
	s.expect(w, watch.Added, "b")
	mark := s.expect(w, watch.Bookmark, "")
	if mark.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" || mark.GetResourceVersion() == "" {
		t.Errorf("bookmark %+v", mark)
	}
	s.create(s.configMap("c"))
	s.expect(w, watch.Added, "c")
	w.Stop()
	for range w.ResultChan() { // ends
	}
}

func watchFromThePast(t *testing.T, s *suite) {
	made := s.create(s.configMap("a"))
	if err := client.ConfigMaps.Delete(s.ctx, s.c, s.ns, "a"); err != nil {
		t.Fatal(err)
	}
	w, err := s.c.Watch(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{ResourceVersion: made.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s.expect(w, watch.Deleted, "a")

	old, err := s.c.Watch(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{ResourceVersion: "1"})
	if err == nil {
		defer old.Stop()
		e := s.next(old)
		if e.Type == watch.Error {
			err = apierrors.FromObject(e.Object)
		}
	}
	if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from revision 1 gave %v", err)
	}
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

func deleteCollection(t *testing.T, s *suite) {
	for i := range 10 {
		cm := s.configMap(fmt.Sprint("c", i))
		cm.Labels = map[string]string{"half": fmt.Sprint(i % 2)}
		s.create(cm)
	}
	if err := s.c.DeleteCollection(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "half=0"}); err != nil {
		t.Fatal(err)
	}
	l, err := s.c.List(s.ctx, client.ConfigMaps.GVR, s.ns, metav1.ListOptions{LabelSelector: "half"})
	if err != nil || len(l.Items) != 5 {
		t.Fatal(l, err)
	}
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

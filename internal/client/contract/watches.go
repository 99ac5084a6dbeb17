package contract

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
)

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

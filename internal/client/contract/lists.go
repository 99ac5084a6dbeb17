package contract

import (
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

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

package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// TestWithVersionIsTheEncoding compares the value with a version put in to the encoding of the object with that version, for every kind.
func TestWithVersionIsTheEncoding(t *testing.T) {
	fuzz := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), serializer.NewCodecFactory(object.Scheme()))
	compared := 0
	for _, k := range object.Builtin().All() {
		if k.Virtual {
			continue
		}
		for range 5 {
			obj := k.Hub().New().(object.Object)
			fuzz.Fill(obj)
			obj.SetResourceVersion("")
			obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
			stored, err := codec.EncodeStorage(k, obj)
			if err != nil {
				t.Fatal(err)
			}
			if !isEnvelope(stored) {
				continue
			}
			obj.SetResourceVersion("12345")
			want, err := codec.EncodeProto(obj, k.GroupVersionKind())
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := withVersion(stored, "12345"); !ok || !bytes.Equal(got, want) || cap(got) > len(got) {
				t.Fatalf("%s: %v, %d bytes of %d, want\n%q, got\n%q", k.GroupResource(), ok, len(got), cap(got), want, got)
			}
			compared++
		}
	}
	if compared < 100 {
		t.Errorf("only %d values were compared", compared)
	}
}

func TestWithVersionRefusesWhatIsUnusual(t *testing.T) {
	p := pod("p", "n")
	p.ResourceVersion = "7"
	versioned, err := codec.EncodeProto(p, corev1.SchemeGroupVersion.WithKind("Pod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range [][]byte{versioned, []byte(envelopePrefix), []byte(envelopePrefix + "\x12\x05ab"), []byte(envelopePrefix + "\x12\x02\x12\x00"), []byte(envelopePrefix + "\x12\x02\x0a\x00"), []byte(envelopePrefix + "\xff\xff")} {
		if got, ok := withVersion(stored, "12"); ok {
			t.Errorf("%q gave %q", stored, got)
		}
	}
}

// forget has a store give up all objects that nobody else holds.
func forget(t *testing.T, s *Store) {
	t.Helper()
	// A write that the feed has not shown yet holds its object, and so does the feed while it shows it. A list waits until the feed
	// has come to the last write, which is of something else.
	other := configMaps(t, s)
	fence := create(t, other, configMap("default", "fence", ""))
	if _, err := other.Delete(t.Context(), fence.Key(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.List(t.Context(), ListOptions{}); err != nil {
		t.Fatal(err)
	}
	s.objects.sweep()
	s.objects.sweep()
	runtime.GC()
	runtime.GC()
}

func TestObjectsAreGivenUpAndDecodedAgain(t *testing.T) {
	s := newStore(t)
	c := pods(t, s)
	made := pod("p", "node-1")
	made.Labels = map[string]string{"app": "x", "empty": ""}
	c.kind.Default(made)
	e := create(t, c, made)
	json, err := e.JSON(c.kind.Hub())
	if err != nil {
		t.Fatal(err)
	}
	proto, err := codec.EncodeProto(e.Object(), c.kind.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}

	held := e.Object()
	made = nil
	forget(t, s)
	if e.decoded.Load().held() != nil {
		t.Fatal("the object is still held")
	}
	if e.Object() != held {
		t.Error("another object than the one that is in use")
	}
	runtime.KeepAlive(held)
	held = nil
	s.answers.sweep()
	s.answers.sweep()
	forget(t, s)
	if e.decoded.Load().still(c) != nil {
		t.Fatal("the object is still in memory")
	}

	for sel, want := range map[string]bool{"app=x": true, "app=y": false, "app": true, "empty=": true, "!other": true, "app notin (x)": false, "app!=y": true} {
		l, err := labels.Parse(sel)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.List(context.Background(), ListOptions{Label: l})
		if err != nil || (len(p.Entries) == 1) != want {
			t.Errorf("%s: %v %v", sel, p, err)
		}
	}
	for sel, want := range map[string]bool{"status.phase=Running": false, "spec.restartPolicy=Always": true, "spec.nodeName=node-1,metadata.namespace=default": true, "metadata.name!=p": false} {
		f, err := fields.ParseSelector(sel)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.List(context.Background(), ListOptions{Field: f})
		if err != nil || (len(p.Entries) == 1) != want {
			t.Errorf("%s: %v %v", sel, p, err)
		}
	}
	if again, err := e.JSON(c.kind.Hub()); err != nil || !bytes.Equal(again, json) {
		t.Errorf("%v, was\n%s, is\n%s", err, json, again)
	}
	if again, err := e.Proto(c.kind.Hub()); err != nil || !bytes.Equal(again, proto) {
		t.Errorf("%v, was\n%q, is\n%q", err, proto, again)
	}
	if e.decoded.Load().still(c) != nil {
		t.Error("selecting and encoding held the object")
	}
	first := e.Object()
	if first == nil || first != e.Object() || first.GetResourceVersion() != formatRevision(e.Revision) {
		t.Errorf("decoded as %v", first)
	}
}

// TestDeletionOfAnObjectGivenUp: the last state has the revision of the deletion, also when nobody had it decoded.
func TestDeletionOfAnObjectGivenUp(t *testing.T) {
	s := newStore(t)
	c := pods(t, s)
	e := create(t, c, pod("p", "node-1"))
	w := startWatch(t, c, WatchOptions{ResourceVersion: formatRevision(e.Revision)})
	forget(t, s)
	gone, err := c.Delete(context.Background(), e.Key(), nil)
	if err != nil || gone.Revision <= e.Revision || gone.Object().GetResourceVersion() != formatRevision(gone.Revision) || gone.Object().GetName() != "p" {
		t.Fatalf("%+v %v", gone.Object(), err)
	}
	ev := take(t, w, 1)[0]
	if ev.Entry.Object().GetResourceVersion() != formatRevision(gone.Revision) {
		t.Errorf("the event has version %s, want %d", ev.Entry.Object().GetResourceVersion(), gone.Revision)
	}
	data, err := ev.Entry.Proto(c.kind.Hub())
	if err != nil {
		t.Fatal(err)
	}
	if obj, _, err := codec.Decode(data, codec.Protobuf, nil, nil, false); err != nil || obj.(*corev1.Pod).ResourceVersion != formatRevision(gone.Revision) {
		t.Errorf("%v %v", obj, err)
	}
}

func TestValuesNotInUseSettleInBlocks(t *testing.T) {
	s := newStore(t)
	c := pods(t, s)
	var entries []*Entry
	for i := range 20 {
		p := bigPod(fmt.Sprintf("pod-%02d", i))
		c.kind.Default(p)
		entries = append(entries, create(t, c, p))
	}
	want := make([][]byte, len(entries))
	for i, e := range entries {
		want[i] = bytes.Clone(e.value())
	}
	key := entries[3].Key()
	if _, err := c.Update(context.Background(), key, func(cur *Entry) (object.Object, error) {
		p := cur.Object().DeepCopyObject().(*corev1.Pod)
		p.Labels["n"] = "new"
		return p, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CurrentRevision(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := entries[3].stored.Load()
	forget(t, s)
	for i, e := range entries {
		if !bytes.Equal(e.value(), want[i]) {
			t.Errorf("value %d has changed", i)
		}
		if i != 3 && e.marks.Load()&settled == 0 {
			t.Errorf("value %d has not settled", i)
		}
	}
	if entries[3].stored.Load() != before {
		t.Error("a value that was replaced has moved")
	}
	first, second := entries[5].value(), entries[6].value()
	if cap(first) != len(first) || cap(second) != len(second) {
		t.Error("a value reaches into its neighbour")
	}
}

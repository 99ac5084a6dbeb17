package server_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/etcd"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server"
	"hyperkube/internal/server/consistency"
	"hyperkube/internal/server/servertest"
)

var consistencyFor = flag.Duration("consistency", 3*time.Second, "how long TestConsistency runs")

const (
	enough   = 400         // writes that a storm has at least, however slow the machine
	patience = time.Minute // for them
	storm    = "storm"     // the namespace of the test
	fence    = "fence"     // the object that ends it: all selectors pick it
)

// TestConsistency has servers on one datastore written to, listed and watched at once, fast and slowly, by both doors, while history
// is compacted and servers are restarted; then everything that clients saw is compared with what the datastore went through.
func TestConsistency(t *testing.T) {
	r := newRun(t, nil)
	for i, err := range r.storm(*consistencyFor) {
		if i == 10 {
			t.Fatal("and more")
		}
		t.Error(err)
	}
	if len(r.history) < 50 || r.count["watch"] < 6 || r.count["list"] < 10 || r.count["read"] < 10 {
		t.Errorf("too little happened: %d changes, %v", len(r.history), r.count)
	}
	r.askCompacted()
}

// storm is everything at once, for some time and enough writes; it gives what was wrong.
func (r *run) storm(d time.Duration) []error {
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	var writing, looking sync.WaitGroup
	writing.Go(func() {
		defer stop()
		<-time.After(d)
		select {
		case <-r.busy:
		case <-time.After(patience):
			r.t.Errorf("only %d writes in %v", r.writes.Load(), d+patience)
		}
	})
	for w := range 4 {
		writing.Go(func() { r.write(ctx, w) })
	}
	for w, filter := range []string{"", "", "", "v=even", "v=even", "v=odd"} {
		looking.Go(func() { r.watch(w, filter) })
	}
	var reading sync.WaitGroup
	for w := range 3 {
		reading.Go(func() { r.list(ctx, w) })
	}
	writing.Go(func() { r.restart(ctx, d/4) })
	writing.Wait()
	reading.Wait()
	r.finish()
	looking.Wait()
	return r.judge()
}

// run is one run of the test. What clients see is collected in seen.
type run struct {
	t       *testing.T
	spoil   func(client.Interface) client.Interface // puts a fault before the servers; nil: none
	member  *etcd.Member
	history []consistency.Change
	whole   chan struct{} // closed when the history has the fence

	doors  [2]atomic.Pointer[door]
	acked  atomic.Int64 // the newest revision that a writer got an answer of
	writes atomic.Int64
	busy   chan struct{} // closed when there were enough writes
	pace   chan struct{}
	ended  chan struct{}

	mu    sync.Mutex
	seen  []checker
	count map[string]int
}

type checker interface {
	Check(*consistency.History) error
}

// door is a way into a server.
type door struct {
	client.Interface
	close func()
}

func newRun(t *testing.T, spoil func(client.Interface) client.Interface) *run {
	t.Helper()
	member, err := etcd.Start(t.Context(), etcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(member.Close)
	r := &run{t: t, spoil: spoil, member: member, whole: make(chan struct{}), busy: make(chan struct{}), pace: make(chan struct{}), ended: make(chan struct{}), count: map[string]int{}}
	r.record() // before there is a server that compacts
	r.doors[0].Store(r.open(0))
	r.doors[1].Store(r.open(1))
	r.fill()
	return r
}

// fill makes what nobody looks at: lists of a kind with few objects are not remembered.
func (r *run) fill() {
	for n := range 80 {
		obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "calm", Name: fmt.Sprintf("c%02d", n), Labels: map[string]string{"v": "even"}}}
		if _, err := r.any(0).Create(r.t.Context(), maps, obj, metav1.CreateOptions{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// open starts a server and gives one of its doors.
func (r *run) open(n int) *door {
	api, stop := servertest.StartStoppable(r.t, func(c *server.Config) {
		c.Etcd = r.member.Client()
		c.CompactionInterval = 300 * time.Millisecond
	})
	c := api.Admin()
	if n == 1 {
		var err error
		if c, err = client.NewREST(api.REST); err != nil {
			r.t.Error(err)
		}
	}
	if r.spoil != nil {
		c = r.spoil(c)
	}
	return &door{c, stop}
}

// record begins to write down what the datastore goes through, until the fence.
func (r *run) record() {
	r.t.Helper()
	k, _ := object.Builtin().Kind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	prefix := "/registry/" + k.StoragePrefix + "/" + storm + "/"
	told := r.member.Client().Watch(r.t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-told; !first.Created || first.Err() != nil {
		r.t.Fatalf("the datastore's watch: %v", first.Err())
	}
	go func() {
		defer close(r.whole)
		for w := range told {
			if r.t.Context().Err() != nil { // the test gave up before the end
				return
			}
			if w.Err() != nil {
				r.t.Errorf("the datastore's watch: %v", w.Err())
				return
			}
			for _, e := range w.Events {
				if r.note(k, strings.TrimPrefix(string(e.Kv.Key), prefix), e) {
					return
				}
			}
		}
	}()
}

// note adds a change to the history, and tells whether it is the last.
func (r *run) note(k *object.Kind, key string, e *clientv3.Event) bool {
	c := consistency.Change{Revision: e.Kv.ModRevision, Key: key, Deleted: e.Type == clientv3.EventTypeDelete}
	if !c.Deleted {
		obj, err := codec.DecodeStorage(k, e.Kv.Value)
		if err != nil {
			r.t.Error(err)
			return true
		}
		c.Value, c.Label = value(obj), obj.GetLabels()["v"]
	}
	r.history = append(r.history, c)
	return key == fence
}

func value(o client.Object) string {
	if c, ok := o.(*corev1.ConfigMap); ok {
		return c.Data["n"]
	}
	return ""
}

func revisionOf(o metav1.Object) int64 { return number(o.GetResourceVersion()) }

func number(rv string) int64 {
	n, err := strconv.ParseInt(rv, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (r *run) saw(what string, c checker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, c)
	r.count[what]++
}

// any is the door of one of the servers.
func (r *run) any(n int) client.Interface { return r.doors[n%len(r.doors)].Load() }

var maps = client.ConfigMaps.GVR

// write keeps changing the keys that are its own. What fails while a server goes may have been done or not: the history knows. The
// last request is waited for and not broken off, since it might be done after the fence, which ends the history.
func (r *run) write(until context.Context, w int) {
	ctx := context.WithoutCancel(until)
	for n := 0; until.Err() == nil; n++ {
		key, c := fmt.Sprintf("w%d-%d", w, rand.IntN(8)), r.any(w+n/16)
		label := "even"
		if n%2 == 1 {
			label = "odd"
		}
		obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storm, Name: key, Labels: map[string]string{"v": label}}, Data: map[string]string{"n": fmt.Sprint(w, ".", n)}}
		var got client.Object
		var err error
		switch n % 7 {
		case 0, 1:
			got, err = c.Create(ctx, maps, obj, metav1.CreateOptions{})
		case 2, 3, 4, 5:
			patch := fmt.Sprintf(`{"metadata":{"labels":{"v":%q}},"data":{"n":"%d.%d"}}`, label, w, n)
			got, err = c.Patch(ctx, maps, storm, key, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		default:
			err = c.Delete(ctx, maps, storm, key, metav1.DeleteOptions{})
			if err == nil {
				r.expectGone(ctx, key, w+n)
			}
		}
		if err != nil || got == nil {
			continue
		}
		if r.writes.Add(1) == enough {
			close(r.busy)
		}
		for rv := revisionOf(got); ; {
			old := r.acked.Load()
			if rv <= old || r.acked.CompareAndSwap(old, rv) {
				break
			}
		}
		select {
		case r.pace <- struct{}{}:
		default:
		}
	}
}

// expectGone reads a key whose deletion by its only writer was acknowledged.
func (r *run) expectGone(ctx context.Context, key string, n int) {
	got, err := r.any(n).Get(ctx, maps, storm, key, metav1.GetOptions{})
	if err == nil {
		r.t.Errorf("%s@%s is read after its deletion: %v", key, got.GetResourceVersion(), consistency.ErrReadStale)
	}
}

// restart ends one server after the other and starts another in its place.
func (r *run) restart(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d := r.open(n % 2)
			r.doors[n%2].Swap(d).close()
		}
	}
}

// finish writes the fence, which is the last change.
func (r *run) finish() {
	obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storm, Name: fence, Labels: map[string]string{"v": fence}}}
	if _, err := r.any(0).Create(r.t.Context(), maps, obj, metav1.CreateOptions{}); err != nil {
		r.t.Error(err)
	}
	close(r.ended)
}

// judge compares everything seen with the history.
func (r *run) judge() []error {
	t := r.t
	select {
	case <-r.whole:
	case <-time.After(30 * time.Second):
		t.Fatal("the datastore did not tell of its end")
	}
	h, err := consistency.NewHistory(r.history)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d changes; seen: %v", len(r.history), r.count)
	var all []error
	for _, c := range r.seen {
		if err := c.Check(h); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// askCompacted compacts all history, and asks both servers for its first revision.
func (r *run) askCompacted() {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if _, err := r.member.Client().Compact(ctx, r.history[len(r.history)-1].Revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		r.t.Fatal(err)
	}
	first := strconv.FormatInt(r.history[0].Revision, 10)
	for n := range r.doors {
		_, err := r.any(n).List(ctx, maps, storm, metav1.ListOptions{ResourceVersion: first, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
		if !apierrors.IsResourceExpired(err) {
			r.t.Errorf("list: %v: %v", err, consistency.ErrCompactedList)
		}
		w, err := r.any(n).Watch(ctx, maps, storm, metav1.ListOptions{ResourceVersion: first})
		if err != nil {
			if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
				r.t.Errorf("watch: %v: %v", err, consistency.ErrCompactedWatch)
			}
			continue
		}
		e := <-w.ResultChan()
		w.Stop()
		if s, ok := e.Object.(*metav1.Status); e.Type != watch.Error || !ok || s.Code != 410 {
			r.t.Errorf("watch: %+v: %v", e, consistency.ErrCompactedWatch)
		}
	}
}

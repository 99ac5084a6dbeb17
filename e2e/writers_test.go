package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// writers write all the time and keep the books of what was acknowledged.
type writers struct {
	acks  atomic.Int64
	mu    sync.Mutex
	books map[string]acknowledged // by name
	cond  *sync.Cond
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// acknowledged is the last state of an object of which its writer was told.
type acknowledged struct {
	revision uint64
	count    int
}

const writersAtOnce = 8

// startWriters lets each writer create objects and update each several times, until it is stopped or the server does not answer.
func startWriters(h *host, name string) *writers {
	ctx, stop := context.WithCancel(context.Background())
	w := &writers{books: map[string]acknowledged{}, stop: stop}
	w.cond = sync.NewCond(&w.mu)
	a := h.api(nil)
	for g := range writersAtOnce {
		w.wg.Go(func() {
			for i := 0; w.object(ctx, a, fmt.Sprintf("%s-%d-%d", name, g, i)) == nil; i++ {
			}
		})
	}
	h.t.Cleanup(w.end)
	return w
}

func (w *writers) object(ctx context.Context, a *api, name string) error {
	m := configMap{Metadata: metadata{Name: name}, Data: map[string]string{"count": "0"}}
	method, path := http.MethodPost, configMaps
	for n := range 4 {
		m.Data["count"] = strconv.Itoa(n)
		got, err := a.write(ctx, method, path, m)
		if err != nil {
			return err
		}
		rev, err := strconv.ParseUint(got.Metadata.ResourceVersion, 10, 64)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.books[name] = acknowledged{rev, n}
		w.acks.Add(1)
		w.cond.Broadcast()
		w.mu.Unlock()
		m, method, path = got, http.MethodPut, configMaps+"/"+name
	}
	return nil
}

// after returns when so many writes were acknowledged.
func (w *writers) after(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.acks.Load() < int64(n) {
		w.cond.Wait()
	}
}

// end stops the writers, if the server has not.
func (w *writers) end() {
	w.stop()
	w.wg.Wait()
}

// nothingLost compares the books with what the server has.
func (w *writers) nothingLost(t *testing.T, h *host) {
	t.Helper()
	w.end()
	code, text, err := h.api(nil).do(t.Context(), http.MethodGet, configMaps, nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("list: %d %v: %.300s", code, err, text)
	}
	var list struct{ Items []configMap }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	have := map[string]acknowledged{}
	for _, m := range list.Items {
		rev, _ := strconv.ParseUint(m.Metadata.ResourceVersion, 10, 64)
		n, _ := strconv.Atoi(m.Data["count"])
		have[m.Metadata.Name] = acknowledged{rev, n}
	}
	lost := 0
	for name, want := range w.books {
		got, ok := have[name]
		if !ok || got.revision < want.revision || got.count < want.count {
			if lost++; lost < 5 {
				t.Errorf("%s was acknowledged as %+v, and is now %+v (there: %v)", name, want, got, ok)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d objects lost an acknowledged write", lost, len(w.books))
	}
	if len(w.books) == 0 {
		t.Error("nothing was written")
	}
}

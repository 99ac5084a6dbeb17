package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
)

// noServer tells whether a request failed before it reached a server: nobody listens any more.
func noServer(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// ask sends a request and reads the whole answer.
func ask(h *http.Client, method, url, body string) (*http.Response, []byte, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if method == http.MethodGet {
		req.Body, req.GetBody = nil, nil
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res, data, err
}

// writer creates config maps until nobody listens, and gives the names of those that it was told are there. Any other failure is the
// server's.
func writer(t *testing.T, h *http.Client, host, prefix string) (made []string) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		res, data, err := ask(h, http.MethodPost, host+cmPath, `{"metadata":{"name":"`+name+`"}}`)
		switch {
		case noServer(err):
			return made
		case err != nil || res.StatusCode != http.StatusCreated:
			t.Errorf("create %s: %v %s", name, err, data)
			return made
		}
		made = append(made, name)
	}
}

// reader lists over HTTP/1.1 until nobody listens.
func reader(t *testing.T, h *http.Client, host string) {
	for {
		res, data, err := ask(h, http.MethodGet, host+cmPath+"?limit=20", "")
		switch {
		case noServer(err):
			return
		case err != nil || res.StatusCode != http.StatusOK:
			t.Errorf("list: %v %s", err, data)
			return
		}
	}
}

// Clients go on asking while the server stops. No request that reaches it fails, and what it confirmed is in the datastore. During the
// delay, it serves as always: new watches too.
func TestShutdownFailsNoRequest(t *testing.T) {
	var db *clientv3.Client
	api, stop := servertest.StartStoppable(t, func(c *server.Config) { db, c.ShutdownDelay = c.Etcd, 3*time.Second })
	w := newWeb(t, api.REST)
	old := rest.CopyConfig(api.REST)
	old.NextProtos = []string{"http/1.1"}
	h1 := newWeb(t, old)

	var wg sync.WaitGroup
	made := make([][]string, 4)
	for i := range made {
		wg.Go(func() { made[i] = writer(t, w.h, w.host, fmt.Sprintf("w%d", i)) })
		wg.Go(func() { reader(t, h1.h, h1.host) })
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	for {
		res, data, err := ask(w.h, http.MethodGet, w.host+"/readyz?verbose", "")
		if err != nil {
			t.Fatal("the server was never seen to be not ready:", err)
		}
		if res.StatusCode == http.StatusOK {
			continue
		}
		if !strings.Contains(string(data), "[-]shutdown failed") {
			t.Fatalf("%d %s", res.StatusCode, data)
		}
		break
	}
	for _, p := range []string{"/livez", "/healthz"} {
		if res, data := w.do("GET", p, ""); res.StatusCode != http.StatusOK {
			t.Errorf("%s while stopping: %d %s", p, res.StatusCode, data)
		}
	}
	res, err := w.h.Get(w.host + cmPath + "?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	events, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Error("the watch was broken off:", err)
	}
	if n := strings.Count(string(events), `"type":"ADDED"`); n == 0 {
		t.Error("a watch that began after the signal told nothing")
	}
	wg.Wait()
	<-stopped

	stored, err := db.Get(context.Background(), "/registry/configmaps/default/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, kv := range stored.Kvs {
		there[strings.TrimPrefix(string(kv.Key), "/registry/configmaps/default/")] = true
	}
	confirmed := 0
	for _, names := range made {
		confirmed += len(names)
		for _, n := range names {
			if !there[n] {
				t.Errorf("%s was confirmed and is not there", n)
			}
		}
	}
	if confirmed == 0 {
		t.Error("nothing was in flight")
	}
	t.Logf("%d writes confirmed, %d stored", confirmed, len(there))
}

// A server that was asked to go on listening sends new requests away until those in flight are answered, and says how it is.
func TestShutdownSendsAway(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	api, stop := servertest.StartStoppable(t, func(c *server.Config) {
		c.ShutdownRetryAfter = true
		c.Handlers = map[string]http.Handler{"/slow": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(enter)
			<-leave
			_, _ = io.WriteString(w, "done")
		})}
	})
	w := newWeb(t, api.REST)
	watching, err := w.h.Get(w.host + cmPath + "?watch=1")
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan string, 1)
	go func() {
		_, data, err := ask(w.h, http.MethodGet, w.host+"/slow", "")
		slow <- fmt.Sprint(string(data), err)
	}()
	<-enter
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	_, err = io.Copy(io.Discard, watching.Body) // the watch ends when the draining begins
	watching.Body.Close()
	if err != nil {
		t.Error("the watch was broken off:", err)
	}
	res, data := w.do("GET", cmPath, "")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "5" {
		t.Errorf("a new request got %d, %q, %s", res.StatusCode, res.Header.Get("Retry-After"), data)
	}
	if res, _ := w.do("GET", "/readyz", ""); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("/readyz: %d", res.StatusCode)
	}
	if res, _ := w.do("GET", "/livez", ""); res.StatusCode != http.StatusOK {
		t.Errorf("/livez: %d", res.StatusCode)
	}
	close(leave)
	if got := <-slow; got != "done<nil>" {
		t.Error("the request in flight got", got)
	}
	<-stopped
	if _, _, err := ask(w.h, http.MethodGet, w.host+"/livez", ""); !noServer(err) {
		t.Error("somebody still listens:", err)
	}
}

// With a grace period watches end one after the other, each cleanly.
func TestShutdownSpreadsTheEndsOfWatches(t *testing.T) {
	const grace, watches = 2 * time.Second, 30
	api, stop := servertest.StartStoppable(t, func(c *server.Config) { c.WatchGrace = grace })
	w := newWeb(t, api.REST)
	ends := make(chan time.Time, watches)
	for range watches {
		res, err := w.h.Get(w.host + cmPath + "?watch=1")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Error("a watch was broken off:", err)
			}
			ends <- time.Now()
		}()
	}
	begin := time.Now()
	stop()
	took := time.Since(begin)
	first, last := <-ends, time.Time{}
	for range watches - 1 {
		last = <-ends
	}
	if spread := last.Sub(first); spread < grace/2 {
		t.Errorf("all watches ended within %v", spread)
	}
	t.Logf("from %v to %v, the server after %v", first.Sub(begin), last.Sub(begin), took)
}

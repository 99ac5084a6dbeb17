package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

// TestManyWatchesHaveAll has many watches, by either protocol and each over a connection of its own, of which one is never read, see every one
// of many changes made at the same time, large ones among them, once and in the order of their versions.
func TestManyWatchesHaveAll(t *testing.T) {
	const watches, makers, each = 20, 4, 25
	api := servertest.Start(t, nil)
	var wg sync.WaitGroup
	for n := range watches + 1 {
		cfg := rest.CopyConfig(api.REST)
		cfg.Proxy = http.ProxyFromEnvironment // a transport of its own
		if n%2 == 0 {
			cfg.NextProtos = []string{"http/1.1"}
		}
		h, err := rest.HTTPClientFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Host+cmPath+"?watch=1&labelSelector=many", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close(); h.CloseIdleConnections() })
		if want := 2 - (n+1)%2; res.ProtoMajor != want {
			t.Fatalf("watch %d speaks %s", n, res.Proto)
		}
		if n < watches {
			wg.Go(func() { seesAll(t, n, res, makers*each) })
		}
	}
	admin := api.Admin()
	for m := range makers {
		wg.Go(func() {
			for i := range each {
				o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("many-%d-%d", m, i), Labels: map[string]string{"many": ""}},
					Data: map[string]string{"x": strings.Repeat("x", 1000*(1+i*i%37))}}
				if _, err := client.ConfigMaps.Create(t.Context(), admin, o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func seesAll(t *testing.T, n int, res *http.Response, want int) {
	in := bufio.NewReader(res.Body)
	seen, last := map[string]bool{}, 0
	for len(seen) < want {
		line, err := in.ReadBytes('\n')
		if err != nil {
			t.Errorf("watch %d ended after %d events: %v", n, len(seen), err)
			return
		}
		var e struct {
			Type   string
			Object corev1.ConfigMap
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("watch %d: %v in %.200q", n, err, line)
			return
		}
		var version int
		if _, err := fmt.Sscan(e.Object.ResourceVersion, &version); err != nil {
			t.Error(err)
		}
		if e.Type != "ADDED" || seen[e.Object.Name] || version <= last {
			t.Errorf("watch %d: unexpected %s of %s at %d after %d", n, e.Type, e.Object.Name, version, last)
			return
		}
		seen[e.Object.Name], last = true, version
	}
}

package server_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
)

// TestLivezGrace: a part of the start that is not done fails /livez only after the grace period, and /readyz always.
func TestLivezGrace(t *testing.T) {
	for grace, want := range map[time.Duration]int{0: http.StatusInternalServerError, time.Hour: http.StatusOK} {
		var undone atomic.Bool // the test's server must come up first
		api := servertest.Start(t, func(cfg *server.Config) {
			cfg.LivezGrace = grace
			cfg.Wire = func(_ client.Interface, p *server.Parts) error {
				p.Checks = append(p.Checks, server.Check{Name: "poststarthook/slow", Func: func(context.Context) error {
					if undone.Load() {
						return errors.New("not done")
					}
					return nil
				}})
				return nil
			}
		})
		undone.Store(true)
		w := newWeb(t, api.REST)
		for path, code := range map[string]int{"/livez": want, "/livez/poststarthook/slow": want, "/readyz": http.StatusInternalServerError, "/livez/etcd": http.StatusOK} {
			if res, data := w.do("GET", path, ""); res.StatusCode != code {
				t.Errorf("grace %v: %s: %d %s, want %d", grace, path, res.StatusCode, data, code)
			}
		}
	}
}

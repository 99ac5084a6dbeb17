package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMux(t *testing.T) {
	m := NewMux(prometheus.NewRegistry(),
		Check{"good", func(context.Context) error { return nil }},
		Check{"bad", func(context.Context) error { return errors.New("the secret reason") }})
	for path, c := range map[string]struct {
		code int
		want string
	}{
		"/healthz":                   {500, "[-]bad failed"},
		"/healthz/good":              {200, "ok"},
		"/readyz/bad":                {500, "reason withheld"},
		"/livez?exclude=bad":         {200, "ok"},
		"/livez?verbose&exclude=bad": {200, "[+]good ok"},
		"/livez?verbose&exclude=bad&exclude=none": {200, "warn: some health checks cannot be excluded: no matches for \"none\""},
		"/metrics":                     {200, ""},
		"/healthz/no-such-check-there": {404, ""},
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %q; want %d with %q", path, w.Code, w.Body, c.code, c.want)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s tells the reason of a failure: %q", path, w.Body)
		}
	}
}

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken address: %v", err)
	}
	taken.Close()
	stop, err := Listen(address, Check{"bad", func(context.Context) error { return errors.New("no") }})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusInternalServerError {
		t.Error(r.Status)
	}
	stop()
	if r, err := http.Get("http://" + address + "/healthz"); err == nil {
		r.Body.Close()
		t.Error("served after it was stopped")
	}
}

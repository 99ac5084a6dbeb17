package aggregate

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/transport"

	"hyperkube/internal/server/request"
	"hyperkube/internal/server/tracing"
)

// proxyTo passes requests on to a server, which gets to know the user and nothing by which it could act in the user's name.
func (a *Aggregator) proxyTo(r *remote) http.Handler {
	base, err := url.Parse(r.base)
	if err != nil { // names of services are names of hosts
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = base.Scheme, base.Host, base.Host
			p.SetXForwarded()
			p.Out.Header.Del("Authorization")
			tracing.Tell(p.In.Context(), p.Out.Header)
			user := request.From(p.In.Context()).User
			transport.SetAuthProxyHeaders(p.Out, user.GetName(), user.GetUID(), user.GetGroups(), user.GetExtra())
		},
		Transport:     roundTripper{r},
		FlushInterval: -1, // events of watches must not wait
		ErrorLog:      slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "error trying to reach service: "+err.Error(), http.StatusServiceUnavailable)
		},
	}
	if !a.cfg.FollowRedirects {
		p.ModifyResponse = func(res *http.Response) error {
			if to := res.Header.Get("Location"); to != "" && res.StatusCode >= 300 && res.StatusCode < 400 {
				return fmt.Errorf("the backend attempted to redirect this request, which is not permitted (status %d)", res.StatusCode)
			}
			return nil
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if request.From(r.Context()).User == nil {
			http.Error(w, "missing user", http.StatusInternalServerError)
			return
		}
		p.ServeHTTP(w, r)
	})
}

// roundTripper sends what switches protocols by HTTP/1.1, everything else as the server likes it.
type roundTripper struct{ r *remote }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.r.broken != nil {
		return nil, errors.Join(errors.New("the APIService cannot be used"), t.r.broken)
	}
	if httpstream.IsUpgradeRequest(req) {
		return t.r.upgrades.RoundTrip(req)
	}
	return t.r.requests.RoundTrip(req)
}

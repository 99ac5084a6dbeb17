package aggregate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/client"
	"hyperkube/internal/server/endpoint"
)

const (
	// askTimeout bounds each question of ask.
	askTimeout = 6 * time.Second
	// maxDocument bounds an answer, in bytes.
	maxDocument = 64 << 20
)

// remote is the server of one APIService.
type remote struct {
	name       string
	uid        types.UID
	generation int64
	gv         schema.GroupVersion
	spec       apiregistrationv1.APIServiceSpec
	base       string // https://name.namespace.svc:port
	requests   *http.Transport
	upgrades   *http.Transport // protocols are switched in HTTP/1.1 alone
	broken     error           // the authorities cannot be read
	proxy      http.Handler

	heard saying // by the worker that asks

	// Guarded by the aggregator's lock.
	available bool
	said      saying
}

// saying is what a server says of itself.
type saying struct {
	resources []metav1.APIResource
	v3        string // where its OpenAPI v3 document of the group version is; empty: it has none
	v2        *spec.Swagger
	v2tag     string
}

func (a *Aggregator) newRemote(s *apiregistrationv1.APIService, gv schema.GroupVersion) *remote {
	ref := s.Spec.Service
	host := ref.Name + "." + ref.Namespace + ".svc"
	r := &remote{name: s.Name, uid: s.UID, generation: s.Generation, gv: gv, spec: s.Spec, base: "https://" + net.JoinHostPort(host, strconv.Itoa(int(port(ref))))}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: s.Spec.InsecureSkipTLSVerify, GetClientCertificate: a.cfg.Certificate}
	if len(s.Spec.CABundle) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(s.Spec.CABundle) {
			r.broken = errors.New("spec.caBundle holds no certificate")
		}
	}
	r.requests = &http.Transport{TLSClientConfig: conf, DialContext: a.dialer(ref), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 25, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second}
	r.upgrades = &http.Transport{TLSClientConfig: conf.Clone(), DialContext: r.requests.DialContext, TLSHandshakeTimeout: 10 * time.Second}
	r.upgrades.TLSClientConfig.NextProtos = []string{"http/1.1"}
	r.proxy = a.proxyTo(r)
	return r
}

// dialer connects to one of the service's endpoints, or to the host outside that the service stands for.
func (a *Aggregator) dialer(ref *apiregistrationv1.ServiceReference) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	number := strconv.Itoa(int(port(ref)))
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		svc, err := client.Services.Get(ctx, a.cfg.API, ref.Namespace, ref.Name)
		if err != nil {
			return nil, err
		}
		address := net.JoinHostPort(svc.Spec.ExternalName, number)
		if svc.Spec.Type != corev1.ServiceTypeExternalName {
			if address, err = endpoint.Choose(ctx, a.cfg.API, ref.Namespace, ref.Name, number); err != nil {
				return nil, err
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

func (r *remote) close() {
	r.requests.CloseIdleConnections()
	r.upgrades.CloseIdleConnections()
}

// take takes over what was heard; it tells whether that is news. Guarded by the aggregator's lock.
func (r *remote) take(available bool) bool {
	news := r.available != available || available && !reflect.DeepEqual(r.said, r.heard)
	r.available = available
	if available {
		r.said = r.heard
	}
	return news
}

// ask asks the server what it serves. It answers for the group version, else it is not available; OpenAPI it may lack.
func (r *remote) ask(ctx context.Context) error {
	if r.broken != nil {
		return r.broken
	}
	path := "/apis/" + r.gv.Group + "/" + r.gv.Version
	res, data, err := r.get(ctx, path, "application/json", "")
	if err != nil {
		return fmt.Errorf("failing or missing response from %s%s: %w", r.base, path, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("failing or missing response from %s%s: bad status from %s%s: %d", r.base, path, r.base, path, res.StatusCode)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("failing or missing response from %s%s: %w", r.base, path, err)
	}
	for i := range list.APIResources {
		if v := &list.APIResources[i]; v.Version == "" {
			v.Group, v.Version = r.gv.Group, r.gv.Version
		}
	}
	r.heard.resources = list.APIResources
	r.heard.v3 = r.askV3(ctx)
	r.askV2(ctx)
	return nil
}

func (r *remote) askV3(ctx context.Context) string {
	res, data, err := r.get(ctx, "/openapi/v3", "application/json", "")
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if json.Unmarshal(data, &index) != nil {
		return ""
	}
	return index.Paths["apis/"+r.gv.Group+"/"+r.gv.Version].ServerRelativeURL
}

// askV2 reads the OpenAPI v2 document, when it is another than last time.
func (r *remote) askV2(ctx context.Context) {
	res, data, err := r.get(ctx, "/openapi/v2", "application/json", r.heard.v2tag)
	if err != nil || res.StatusCode == http.StatusNotModified {
		return
	}
	r.heard.v2, r.heard.v2tag = nil, ""
	var doc spec.Swagger
	if res.StatusCode == http.StatusOK && json.NewDecoder(bytes.NewReader(data)).Decode(&doc) == nil && doc.Paths != nil {
		r.heard.v2, r.heard.v2tag = &doc, res.Header.Get("Etag")
	}
}

// get asks for a document as the aggregator itself.
func (r *remote) get(ctx context.Context, path, accept, known string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", accept)
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	transport.SetAuthProxyHeaders(req, "system:kube-aggregator", "", []string{"system:masters"}, nil)
	res, err := r.requests.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	return res, data, err
}

// openAPIPath is the path of an OpenAPI v3 document below /openapi/v3/.
func openAPIPath(gv schema.GroupVersion) string { return "apis/" + gv.Group + "/" + gv.Version }

func groupVersion(path string) (schema.GroupVersion, bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] != "apis" {
		return schema.GroupVersion{}, false
	}
	return schema.GroupVersion{Group: parts[1], Version: parts[2]}, true
}

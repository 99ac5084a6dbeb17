package apiserver

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/pki"
	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/admission/plugins"
	"hyperkube/internal/server/aggregate"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authn/external"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/fairness"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/services"
	"hyperkube/internal/server/streams"
	"hyperkube/internal/version"
)

// wiring plugs the parts into a server.
type wiring struct {
	a       *APIServer
	cfg     Config
	serving *pki.Reloader
	table   *object.Table
	srv     *server.Server // set when the server is made; handlers run only after that
}

// wire is called once, while the server is made. c has all rights.
func (w *wiring) wire(c client.Interface, p *server.Parts) error {
	if err := w.audit(p); err != nil {
		return err
	}
	boot, err := w.bootstrap()
	if err != nil {
		return err
	}
	an, err := w.authentication()
	if err != nil {
		return err
	}
	settings, err := w.admission()
	if err != nil {
		return err
	}
	err = access.Wire(access.Config{
		Authn: an, Bootstrap: boot, Authz: w.cfg.Modes,
		Admission: plugins.Config{
			Audiences: w.cfg.APIAudiences, Enable: w.cfg.EnableAdmission, Disable: w.cfg.DisableAdmission, Settings: settings,
			NotReadySeconds: w.cfg.NotReadySeconds, UnreachableSeconds: w.cfg.UnreachableSeconds,
		},
	})(c, p)
	if err != nil {
		return err
	}
	if err := w.services(c, p); err != nil {
		return err
	}
	if err := w.streams(c, p); err != nil {
		return err
	}
	w.fairness(c, p)
	return w.aggregation(c, p)
}

// fairness shares the server's time out among those who ask.
func (w *wiring) fairness(c client.Interface, p *server.Parts) {
	if w.cfg.NoFairness {
		return
	}
	f := fairness.New(fairness.Config{
		API: c, Seats: w.cfg.MaxInFlight + w.cfg.MaxMutatingInFlight, QueueWait: w.cfg.RequestTimeout / 4,
		Objects:  func(req *request.Request) int { return w.srv.Objects(req) },
		Watchers: func(req *request.Request) int { return w.srv.Watchers(req) },
	})
	p.FlowControl = f.Admit
	maps.Copy(p.Handlers, f.Handlers())
	p.Background = append(p.Background, f.Run)
	p.Checks = append(p.Checks, server.Check{Name: "poststarthook/priority-and-fairness-config-producer", Func: f.Ready})
	p.Metrics.MustRegister(f.Collectors()...)
}

// admission reads what configures the admission plugins.
func (w *wiring) admission() (plugins.Settings, error) {
	if w.cfg.AdmissionFile == "" {
		return nil, nil
	}
	s, err := plugins.LoadSettings(w.cfg.AdmissionFile)
	if err != nil {
		return nil, fmt.Errorf("--admission-control-config-file: %w", err)
	}
	return s, nil
}

func (w *wiring) audit(p *server.Parts) error {
	l, err := audit.New(w.cfg.Audit)
	if err != nil || l == nil {
		return err
	}
	p.Audit = l
	p.Background = append(p.Background, l.Run)
	p.Metrics.MustRegister(l.Collectors()...)
	return nil
}

func (w *wiring) bootstrap() (bootstrap.Config, error) {
	cfg := bootstrap.Config{Authentication: &bootstrap.Authentication{
		AllowedNames: w.cfg.FrontProxyNames, UsernameHeaders: w.cfg.UsernameHeaders, UIDHeaders: w.cfg.UIDHeaders,
		GroupHeaders: w.cfg.GroupHeaders, ExtraHeaderPrefixes: w.cfg.ExtraHeaderPrefixes,
	}}
	for file, into := range map[string]*[]byte{w.cfg.ClientCAFile: &cfg.Authentication.ClientCA, w.cfg.FrontProxyCA: &cfg.Authentication.FrontProxyCA} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return cfg, err
		}
		*into = data
	}
	used, err := w.cfg.Modes.UsesRBAC()
	cfg.SkipRBAC = !used
	return cfg, err
}

func (w *wiring) authentication() (authn.Config, error) {
	cfg := w.cfg.Tokens
	cfg.TokenFile, cfg.BootstrapTokens, cfg.Anonymous = w.cfg.TokenFile, w.cfg.BootstrapTokens, !w.cfg.NoAnonymous
	if w.cfg.ClientCAFile != "" {
		cfg.ClientCA = w.serving.Pool
	}
	if w.cfg.FrontProxyCA != "" {
		r, err := w.a.reloader("", "", w.cfg.FrontProxyCA)
		if err != nil {
			return cfg, fmt.Errorf("--requestheader-client-ca-file: %w", err)
		}
		cfg.FrontProxy = &authn.FrontProxy{
			CA: r.Pool, AllowedNames: w.cfg.FrontProxyNames,
			UsernameHeaders: w.cfg.UsernameHeaders, UIDHeaders: w.cfg.UIDHeaders,
			GroupHeaders: w.cfg.GroupHeaders, ExtraHeaderPrefixes: w.cfg.ExtraHeaderPrefixes,
		}
	}
	var err error
	cfg.ServiceAccounts, err = w.serviceAccounts()
	return cfg, err
}

func (w *wiring) serviceAccounts() (*authn.ServiceAccounts, error) {
	if len(w.cfg.ServiceAccountIssuers) == 0 {
		return nil, nil
	}
	s := &authn.ServiceAccounts{
		Issuers: w.cfg.ServiceAccountIssuers, Audiences: w.cfg.APIAudiences, MaxExpiration: w.cfg.ServiceAccountMaxLife,
		ExtendExpiration: !w.cfg.ServiceAccountNoExtension, JWKSURI: w.cfg.ServiceAccountJWKSURI,
	}
	if w.cfg.ServiceAccountEndpoint != "" {
		var err error
		s.External, err = external.New(context.Background(), w.cfg.ServiceAccountEndpoint, s.Issuers)
		return s, err
	}
	var keys []crypto.PublicKey
	for _, f := range w.cfg.ServiceAccountKeyFiles {
		k, err := pki.LoadPublicKeys(f)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k...)
	}
	if w.cfg.ServiceAccountSigningKey != "" {
		signer, err := pki.LoadKey(w.cfg.ServiceAccountSigningKey)
		if err != nil {
			return nil, err
		}
		s.Signer = signer
		if len(keys) == 0 {
			keys = append(keys, signer.Public())
		}
	}
	s.Keys = keys
	return s, nil
}

func poolOf(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	certs, err := pki.ParseCerts(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// plug adds the handler of a subresource; sub is empty for a virtual resource itself.
func plug(p *server.Parts, group, resource, sub string, h server.SubresourceHandler) {
	gr := schema.GroupResource{Group: group, Resource: resource}
	if p.Subresources == nil {
		p.Subresources = map[schema.GroupResource]map[string]server.SubresourceHandler{}
	}
	if p.Subresources[gr] == nil {
		p.Subresources[gr] = map[string]server.SubresourceHandler{}
	}
	p.Subresources[gr][sub] = h
}

func (w *wiring) services(c client.Interface, p *server.Parts) error {
	a, err := services.New(c, w.cfg.ServiceCIDRs, w.cfg.NodePortRange)
	if err != nil {
		return err
	}
	if p.Hooks == nil {
		p.Hooks = map[schema.GroupResource]server.WriteHook{}
	}
	p.Hooks[schema.GroupResource{Resource: "services"}] = a.Hook
	p.Metrics.MustRegister(a)
	p.Background = append(p.Background, a.Run)
	return nil
}

func (w *wiring) streams(c client.Interface, p *server.Parts) error {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.cfg.KubeletClientCert != "" {
		r, err := w.a.reloader(w.cfg.KubeletClientCert, w.cfg.KubeletClientKey, "")
		if err != nil {
			return err
		}
		t.GetClientCertificate = r.GetClientCertificate
	}
	if w.cfg.KubeletCA != "" {
		pool, err := poolOf(w.cfg.KubeletCA)
		if err != nil {
			return err
		}
		t.RootCAs = pool
	} else {
		// Upstream's default without --kubelet-certificate-authority: kubelets' certificates are self-signed.
		t.InsecureSkipVerify = true
	}
	var types []corev1.NodeAddressType
	for _, a := range w.cfg.KubeletAddressTypes {
		types = append(types, corev1.NodeAddressType(a))
	}
	s, err := streams.New(streams.Config{
		Client: c, KubeletTLS: t, AddressTypes: types,
		Admit: func(ctx context.Context, req *request.Request, o any) error {
			options, _ := o.(runtime.Object)
			return w.srv.AdmitConnect(ctx, req, options)
		},
		Fail: func(rw http.ResponseWriter, r *http.Request, err error) { w.srv.Fail(rw, r, err) },
	})
	if err != nil {
		return err
	}
	type connect = func(http.ResponseWriter, *http.Request, *request.Request)
	for sub, f := range map[string]connect{"exec": s.Exec, "attach": s.Attach, "portforward": s.PortForward, "log": s.Log, "proxy": s.ProxyPod} {
		plug(p, "", "pods", sub, server.SubresourceHandler{Connect: f})
	}
	plug(p, "", "services", "proxy", server.SubresourceHandler{Connect: s.ProxyService})
	plug(p, "", "nodes", "proxy", server.SubresourceHandler{Connect: s.ProxyNode})
	return nil
}

// aggregation makes other servers part of this one.
func (w *wiring) aggregation(c client.Interface, p *server.Parts) error {
	cfg := aggregate.Config{API: c, Table: w.table, FollowRedirects: w.cfg.FollowRedirects}
	if pair := w.cfg.ProxyClient; pair.CertFile != "" {
		r, err := pki.NewReloader(pair, "")
		if err != nil {
			return fmt.Errorf("--proxy-client-cert-file: %w", err)
		}
		p.Background = append(p.Background, r.Run)
		cfg.Certificate = r.GetClientCertificate
	}
	a := aggregate.New(cfg)
	p.Delegate, p.Groups = a.Delegate, a.Groups
	p.Background = append(p.Background, a.Run)
	p.Metrics.MustRegister(a.Collectors()...)
	for path, h := range openapi.New(w.table, a, version.Kubernetes).Handlers() {
		p.Handlers[path] = h
	}
	return nil
}

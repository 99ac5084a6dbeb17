package apiserver

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/pki"
	"hyperkube/internal/server"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/plugins"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/services"
	"hyperkube/internal/server/streams"
)

// wiring plugs the parts into a server.
type wiring struct {
	a       *APIServer
	cfg     Config
	serving *pki.Reloader
	srv     *server.Server // set when the server is made; handlers run only after that
}

// wire is called once, while the server is made. c has all rights.
func (w *wiring) wire(c client.Interface, p *server.Parts) error {
	informers := client.NewInformers(c)
	boot, err := w.bootstrap(c)
	if err != nil {
		return err
	}
	az, err := authz.New(authz.Config{Modes: w.cfg.AuthorizationModes, Informers: informers, API: c, Bootstrapped: boot.Done()})
	if err != nil {
		return err
	}
	an, err := w.authentication(c)
	if err != nil {
		return err
	}
	var extra []admission.Plugin
	if az.RBAC != nil {
		extra = append(extra, authz.NewEscalation(az))
	}
	p.Admission, err = plugins.Default(plugins.Config{
		API: c, Informers: informers, Authorizer: az, Audiences: w.cfg.APIAudiences,
		Enable: w.cfg.EnableAdmission, Disable: w.cfg.DisableAdmission, Extra: extra,
	})
	if err != nil {
		return err
	}
	p.Authenticator, p.Authorizer, p.Impersonate = an, az, authn.Impersonation(az)
	p.Handlers = an.Handlers()
	if p.Handlers == nil {
		p.Handlers = map[string]http.Handler{}
	}
	reviews(p, an, az)
	if err := w.services(c, p); err != nil {
		return err
	}
	if err := w.streams(c, p); err != nil {
		return err
	}
	p.Checks = append(p.Checks, server.Check{Name: "poststarthook/rbac/bootstrap-roles", Func: boot.Ready}, server.Check{Name: "authorization", Func: az.Ready})
	p.Background = append(p.Background, boot.Run, func(ctx context.Context) error {
		informers.Start(ctx)
		<-ctx.Done()
		return nil
	})
	return nil
}

func (w *wiring) bootstrap(c client.Interface) (*bootstrap.Bootstrap, error) {
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
			return nil, err
		}
		*into = data
	}
	return bootstrap.New(c, cfg), nil
}

func (w *wiring) authentication(c client.Interface) (*authn.Authenticator, error) {
	cfg := authn.Config{API: c, TokenFile: w.cfg.TokenFile, BootstrapTokens: w.cfg.BootstrapTokens, Anonymous: !w.cfg.NoAnonymous}
	if w.cfg.ClientCAFile != "" {
		cfg.ClientCA = w.serving.Pool
	}
	if w.cfg.FrontProxyCA != "" {
		pool, err := poolOf(w.cfg.FrontProxyCA)
		if err != nil {
			return nil, err
		}
		cfg.FrontProxy = &authn.FrontProxy{
			CA: func() *x509.CertPool { return pool }, AllowedNames: w.cfg.FrontProxyNames,
			UsernameHeaders: w.cfg.UsernameHeaders, UIDHeaders: w.cfg.UIDHeaders,
			GroupHeaders: w.cfg.GroupHeaders, ExtraHeaderPrefixes: w.cfg.ExtraHeaderPrefixes,
		}
	}
	var err error
	if cfg.ServiceAccounts, err = w.serviceAccounts(); err != nil {
		return nil, err
	}
	return authn.New(cfg)
}

func (w *wiring) serviceAccounts() (*authn.ServiceAccounts, error) {
	if len(w.cfg.ServiceAccountIssuers) == 0 {
		return nil, nil
	}
	s := &authn.ServiceAccounts{
		Issuers: w.cfg.ServiceAccountIssuers, Audiences: w.cfg.APIAudiences, MaxExpiration: w.cfg.ServiceAccountMaxLife,
		ExtendExpiration: !w.cfg.ServiceAccountNoExtension, JWKSURI: w.cfg.ServiceAccountJWKSURI,
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

type creator = func(context.Context, *request.Request, object.Object, metav1.CreateOptions) (object.Object, error)

// reviews plugs in the kinds that are questions about users and their rights.
func reviews(p *server.Parts, an *authn.Authenticator, az *authz.Authorizer) {
	r := authz.NewReviews(az)
	add := func(group, resource, sub string, empty func() object.Object, create creator) {
		plug(p, group, resource, sub, server.SubresourceHandler{New: empty, Create: create})
	}
	add(authnv1.GroupName, "tokenreviews", "", func() object.Object { return &authnv1.TokenReview{} }, an.TokenReview)
	add(authnv1.GroupName, "selfsubjectreviews", "", func() object.Object { return &authnv1.SelfSubjectReview{} }, authn.SelfSubjectReview)
	add(authzv1.GroupName, "subjectaccessreviews", "", func() object.Object { return &authzv1.SubjectAccessReview{} }, r.SubjectAccessReview)
	add(authzv1.GroupName, "localsubjectaccessreviews", "", func() object.Object { return &authzv1.LocalSubjectAccessReview{} }, r.LocalSubjectAccessReview)
	add(authzv1.GroupName, "selfsubjectaccessreviews", "", func() object.Object { return &authzv1.SelfSubjectAccessReview{} }, r.SelfSubjectAccessReview)
	add(authzv1.GroupName, "selfsubjectrulesreviews", "", func() object.Object { return &authzv1.SelfSubjectRulesReview{} }, r.SelfSubjectRulesReview)
	if an.Issuer != nil {
		add("", "serviceaccounts", "token", func() object.Object { return &authnv1.TokenRequest{} }, an.Issuer.Create)
	}
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
	for path, h := range openapi.New(object.Builtin(), "v1.37.2").Handlers() {
		p.Handlers[path] = h
	}
	return nil
}

package authn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"

	"hyperkube/internal/config"
	"hyperkube/internal/server/authn/jwt"
)

// OIDC is one issuer, as flags name it.
type OIDC struct {
	apiserver.JWTAuthenticator
	// Algorithms of accepted signatures; empty: all asymmetric ones.
	Algorithms []string
}

// structured is one state of the part of the configuration that may change.
type structured struct {
	issuers   []*jwt.Issuer
	anonymous *apiserver.AnonymousAuthConfig // nil: as the flag says
	digest    [32]byte
	stop      context.CancelFunc
}

// tokens asks the issuers in their order.
func (s *structured) tokens(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	var errs []error
	for _, i := range s.issuers {
		resp, ok, err := i.AuthenticateToken(ctx, token)
		if ok {
			return resp, true, nil
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return nil, false, utilerrors.NewAggregate(errs)
}

// begin finds the issuers' keys.
func (s *structured) begin(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	for _, i := range s.issuers {
		go i.Run(ctx)
	}
}

// loadStructured reads the file, or takes the issuer of the flags.
func loadStructured(c *Config, m *jwt.Metrics) (*structured, error) {
	var disallowed []string
	if c.ServiceAccounts != nil {
		disallowed = c.ServiceAccounts.Issuers
	}
	s := &structured{}
	if c.ConfigFile == "" {
		if c.OIDC == nil {
			return s, nil
		}
		i, errs := jwt.New(c.OIDC.JWTAuthenticator, c.OIDC.Algorithms, disallowed, c.Now, m)
		if len(errs) > 0 {
			return nil, fmt.Errorf("--oidc-issuer-url and the flags that go with it: %w", errs.ToAggregate())
		}
		s.issuers = []*jwt.Issuer{i}
		return s, nil
	}
	in, digest, err := readConfiguration(c.ConfigFile)
	if err != nil {
		return nil, err
	}
	s.digest, s.anonymous = digest, in.Anonymous
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), in, disallowed)
	if c.OIDC != nil && len(in.JWT) > 0 {
		errs = append(errs, field.Forbidden(field.NewPath("jwt"), "--oidc-issuer-url configures an issuer already"))
	}
	if in.Anonymous != nil && c.AnonymousSaid {
		errs = append(errs, field.Forbidden(field.NewPath("anonymous"), "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"))
	}
	for n := range in.JWT {
		if len(errs) > 0 {
			break
		}
		i, more := jwt.New(in.JWT[n], nil, disallowed, c.Now, m)
		errs = append(errs, below(field.NewPath("jwt").Index(n), more)...)
		s.issuers = append(s.issuers, i)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("--authentication-config: configuration file %s: %w", c.ConfigFile, errs.ToAggregate())
	}
	return s, nil
}

// below puts a path in front of those of errors.
func below(at *field.Path, errs field.ErrorList) field.ErrorList {
	for _, e := range errs {
		e.Field = at.String() + "." + e.Field
	}
	return errs
}

func readConfiguration(path string) (*apiserver.AuthenticationConfiguration, [32]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("--authentication-config: %w", err)
	}
	var doc apiserverv1.AuthenticationConfiguration
	err = config.LoadKind(path, apiserverv1.SchemeGroupVersion.WithKind("AuthenticationConfiguration"), &doc, "v1beta1")
	in := &apiserver.AuthenticationConfiguration{}
	if err == nil {
		err = apiserverv1.Convert_v1_AuthenticationConfiguration_To_apiserver_AuthenticationConfiguration(&doc, in, nil)
	}
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("--authentication-config: %w", err)
	}
	return in, sha256.Sum256(data), nil
}

// Run finds the keys of issuers, and follows the configuration file, until ctx ends.
func (a *Authenticator) Run(ctx context.Context) error {
	a.dynamic.Load().begin(ctx)
	if s := a.cfg.ServiceAccounts; s != nil && s.External != nil {
		go func() { _ = s.External.Run(ctx) }() // until ctx ends
	}
	if a.cfg.ConfigFile == "" {
		<-ctx.Done()
		return nil
	}
	return config.Follow(ctx, a.cfg.ConfigFile, a.dynamic.Load().digest, func() { a.reload(ctx) })
}

// keysWithin is how long a new configuration waits for the keys of its issuers before it is taken without.
const keysWithin = 30 * time.Second

// reload takes the file's new content, unless something about it is wrong. Tokens of the old configuration are good until the new one is ready.
func (a *Authenticator) reload(ctx context.Context) {
	log := slog.Default().With("component", "authn", "file", a.cfg.ConfigFile)
	next, err := loadStructured(&a.cfg, a.metrics.jwt)
	if err != nil {
		a.metrics.reloads.Tried([32]byte{}, err)
		log.Error("the new authentication configuration is not taken; the old one stays", "err", err)
		return
	}
	inner, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	lasting, stop := context.WithCancel(ctx)
	next.stop = stop
	var wg sync.WaitGroup
	for _, i := range next.issuers {
		ready := make(chan struct{})
		go func() { i.Run(lasting); close(ready) }()
		wg.Go(func() {
			select {
			case <-ready:
			case <-inner.Done():
			}
		})
	}
	wg.Wait()
	a.metrics.reloads.Tried(next.digest, nil)
	old := a.dynamic.Swap(next)
	old.stop()
	for _, i := range old.issuers {
		if !slices.ContainsFunc(next.issuers, func(n *jwt.Issuer) bool { return n.URL() == i.URL() }) {
			i.Forget()
		}
	}
	log.Info("a new authentication configuration is in use")
}

// mayBeAnonymous says whether a request for a path may come without credentials.
func (a *Authenticator) mayBeAnonymous(path string) bool {
	c := a.dynamic.Load().anonymous
	if c == nil {
		return a.cfg.Anonymous
	}
	if !c.Enabled || len(c.Conditions) == 0 {
		return c.Enabled
	}
	return slices.ContainsFunc(c.Conditions, func(one apiserver.AnonymousAuthCondition) bool { return one.Path == path })
}

package authn

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// FrontProxy trusts the headers of a proxy that shows a certificate of its own authority. Empty lists of headers
// mean upstream's: X-Remote-User, X-Remote-Uid, X-Remote-Group, X-Remote-Extra-.
type FrontProxy struct {
	CA func() *x509.CertPool
	// AllowedNames are the common names of trusted proxies; empty: any that the authority signed.
	AllowedNames                                                   []string
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

func (f *FrontProxy) authenticator(now func() time.Time) authenticator.Request {
	c := *f
	set := func(l *[]string, std string) {
		if len(*l) == 0 {
			*l = []string{std}
		}
	}
	set(&c.UsernameHeaders, "X-Remote-User")
	set(&c.UIDHeaders, "X-Remote-Uid")
	set(&c.GroupHeaders, "X-Remote-Group")
	set(&c.ExtraHeaderPrefixes, "X-Remote-Extra-")
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		return c.authenticate(r, now())
	})
}

func (f *FrontProxy) authenticate(r *http.Request, now time.Time) (*authenticator.Response, bool, error) {
	name := first(r.Header, f.UsernameHeaders)
	roots := f.CA()
	if name == "" || roots == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	if err := verify(r.TLS.PeerCertificates, roots, now); err != nil {
		// A client with a certificate of another authority may not speak for others; who he is, the next method finds out.
		return nil, false, nil
	}
	if cn := r.TLS.PeerCertificates[0].Subject.CommonName; len(f.AllowedNames) > 0 && !slices.Contains(f.AllowedNames, cn) {
		return nil, false, fmt.Errorf("x509: subject with cn=%s is not in the allowed list", cn)
	}
	u := &user.DefaultInfo{Name: name, UID: first(r.Header, f.UIDHeaders)}
	for _, h := range f.GroupHeaders {
		u.Groups = append(u.Groups, r.Header.Values(h)...)
	}
	u.Extra = extras(r.Header, f.ExtraHeaderPrefixes)
	f.clear(r.Header)
	return &authenticator.Response{User: u}, true, nil
}

func (f *FrontProxy) clear(h http.Header) {
	for _, list := range [][]string{f.UsernameHeaders, f.UIDHeaders, f.GroupHeaders} {
		for _, n := range list {
			h.Del(n)
		}
	}
	for key := range h {
		if _, ok := extraKey(key, f.ExtraHeaderPrefixes); ok {
			delete(h, key)
		}
	}
}

func first(h http.Header, names []string) string {
	for _, n := range names {
		if v := h.Get(n); v != "" {
			return v
		}
	}
	return ""
}

// extras collects headers such as X-Remote-Extra-Scopes by the part behind the prefix, which is in lower case and
// percent-encoded where a header name cannot hold it.
func extras(h http.Header, prefixes []string) map[string][]string {
	out := map[string][]string{}
	for key, values := range h {
		if k, ok := extraKey(key, prefixes); ok {
			out[k] = append(out[k], values...)
		}
	}
	return out
}

func extraKey(header string, prefixes []string) (string, bool) {
	for _, p := range prefixes {
		if len(header) > len(p) && strings.EqualFold(header[:len(p)], p) {
			key := strings.ToLower(header[len(p):])
			if plain, err := url.PathUnescape(key); err == nil {
				key = plain
			}
			return key, true
		}
	}
	return "", false
}

package apiserver

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server/authn"
)

// tokenFlags say whose tokens are accepted besides those of this cluster.
func tokenFlags() []cli.Flag {
	return []cli.Flag{
		text(who, "authentication-config", "", "`FILE` with the AuthenticationConfiguration (apiserver.config.k8s.io/v1): issuers of tokens, and what may be anonymous; its changes are taken"),
		text(who, "authentication-token-webhook-config-file", "", "kubeconfig `FILE` that names a webhook to ask about tokens that nobody else knows"),
		text(who, "authentication-token-webhook-version", "v1beta1", "`VERSION` of the TokenReviews for it: v1 or v1beta1"),
		span(who, "authentication-token-webhook-cache-ttl", 2*time.Minute, "`TIME` that its answers are remembered"),
		text(who, "oidc-issuer-url", "", "`URL` of an OpenID Connect issuer whose tokens are accepted"),
		text(who, "oidc-client-id", "", "audience of those tokens"),
		text(who, "oidc-ca-file", "", "`FILE` of the CA of the issuer; the system's by default"),
		text(who, "oidc-username-claim", "sub", "claim with the user's name"),
		text(who, "oidc-username-prefix", "", "prefix of users' names; by default the issuer and #, but none for the claim email; - for none"),
		text(who, "oidc-groups-claim", "", "claim with the user's groups"),
		text(who, "oidc-groups-prefix", "", "prefix of the groups' names"),
		list(who, "oidc-required-claim", nil, "`CLAIM=VALUE`s that tokens must have"),
		list(who, "oidc-signing-algs", []string{"RS256"}, "accepted algorithms of signatures"),
	}
}

// tokensFrom reads them into the part of the configuration that is about tokens.
func tokensFrom(c *cli.Context) (authn.Config, error) {
	cfg := authn.Config{ConfigFile: c.String("authentication-config"), AnonymousSaid: c.IsSet("anonymous-auth")}
	if f := c.String("authentication-token-webhook-config-file"); f != "" {
		cfg.Webhook = &authn.WebhookTokens{ConfigFile: f, Version: c.String("authentication-token-webhook-version"), TTL: c.Duration("authentication-token-webhook-cache-ttl")}
	}
	var err error
	cfg.OIDC, err = oidcFrom(c)
	return cfg, err
}

// oidcFrom makes the issuer that flags name; nil when they name none.
func oidcFrom(c *cli.Context) (*authn.OIDC, error) {
	url, id := c.String("oidc-issuer-url"), c.String("oidc-client-id")
	if (url == "") != (id == "") {
		return nil, errors.New("--oidc-issuer-url and --oidc-client-id go together")
	}
	if url == "" {
		for _, f := range []string{"oidc-ca-file", "oidc-groups-claim", "oidc-required-claim"} {
			if c.IsSet(f) {
				return nil, fmt.Errorf("--%s needs --oidc-issuer-url", f)
			}
		}
		return nil, nil
	}
	o := &authn.OIDC{Algorithms: split(c.StringSlice("oidc-signing-algs"))}
	o.Issuer = apiserver.Issuer{URL: url, Audiences: []string{id}}
	if f := c.String("oidc-ca-file"); f != "" {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("--oidc-ca-file: %w", err)
		}
		o.Issuer.CertificateAuthority = string(data)
	}
	claim, prefix := c.String("oidc-username-claim"), c.String("oidc-username-prefix")
	switch {
	case prefix == "-":
		prefix = ""
	case prefix == "" && claim != "email":
		prefix = url + "#"
	}
	o.ClaimMappings.Username = apiserver.PrefixedClaimOrExpression{Claim: claim, Prefix: ptr.To(prefix)}
	if g := c.String("oidc-groups-claim"); g != "" {
		o.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Claim: g, Prefix: ptr.To(c.String("oidc-groups-prefix"))}
	}
	for _, pair := range split(c.StringSlice("oidc-required-claim")) {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--oidc-required-claim: %q is not CLAIM=VALUE", pair)
		}
		o.ClaimValidationRules = append(o.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: name, RequiredValue: value})
	}
	return o, nil
}

// split takes lists apart whose entries are lists with commas.
func split(lists []string) []string {
	var out []string
	for _, l := range lists {
		for _, one := range strings.Split(l, ",") {
			if one = strings.TrimSpace(one); one != "" {
				out = append(out, one)
			}
		}
	}
	return out
}

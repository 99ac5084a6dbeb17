package apiserver

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"

	"hyperkube/internal/server/authz"
)

// modeFlags say who decides who may do what.
func modeFlags() []cli.Flag {
	return []cli.Flag{
		list(may, "authorization-mode", []string{"Node", "RBAC"}, "`MODES` in order: Node, RBAC, Webhook, ABAC, AlwaysAllow, AlwaysDeny"),
		text(may, "authorization-policy-file", "", "`FILE` with the rules of mode ABAC, one JSON object a line"),
		text(may, "authorization-config", "", "`FILE` with the AuthorizationConfiguration (apiserver.config.k8s.io/v1), in place of modes and webhook flags; its changes are taken"),
		text(may, "authorization-webhook-config-file", "", "kubeconfig `FILE` that names the webhook of mode Webhook"),
		text(may, "authorization-webhook-version", "v1beta1", "`VERSION` of the SubjectAccessReviews for it: v1 or v1beta1"),
		span(may, "authorization-webhook-cache-authorized-ttl", 5*time.Minute, "`TIME` that its allowing answers are remembered"),
		span(may, "authorization-webhook-cache-unauthorized-ttl", 30*time.Second, "`TIME` that its other answers are remembered"),
	}
}

// webhookTimeout of a question to the webhook that flags name.
const webhookTimeout = 30 * time.Second

func modesFrom(c *cli.Context) (authz.Config, error) {
	cfg := authz.Config{Modes: split(c.StringSlice("authorization-mode")), PolicyFile: c.String("authorization-policy-file"), ConfigFile: c.String("authorization-config")}
	if cfg.ConfigFile != "" {
		for _, f := range modeFlags() {
			if name := f.Names()[0]; name != "authorization-config" && c.IsSet(name) {
				return cfg, fmt.Errorf("--authorization-config: --%s cannot be given together with it", name)
			}
		}
		cfg.Modes = nil
		return cfg, nil
	}
	if f := c.String("authorization-webhook-config-file"); f != "" {
		allowed, other := c.Duration("authorization-webhook-cache-authorized-ttl"), c.Duration("authorization-webhook-cache-unauthorized-ttl")
		cfg.Webhook = &apiserver.WebhookConfiguration{
			ConnectionInfo:             apiserver.WebhookConnectionInfo{Type: apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile, KubeConfigFile: &f},
			SubjectAccessReviewVersion: c.String("authorization-webhook-version"), FailurePolicy: apiserver.FailurePolicyNoOpinion,
			Timeout:       metav1.Duration{Duration: webhookTimeout},
			AuthorizedTTL: metav1.Duration{Duration: allowed}, CacheAuthorizedRequests: allowed > 0,
			UnauthorizedTTL: metav1.Duration{Duration: other}, CacheUnauthorizedRequests: other > 0,
		}
	}
	_, err := cfg.UsesRBAC()
	return cfg, err
}

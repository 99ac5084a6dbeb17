package apiserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hyperkube/internal/server/audit"
)

func parsed(t *testing.T, args ...string) Config {
	t.Helper()
	c, err := FromArgs(append([]string{"--advertise-address=192.0.2.1"}, args...))
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return c
}

func TestAuditFlags(t *testing.T) {
	c := parsed(t, "--audit-policy-file=p", "--audit-log-path=/l", "--audit-webhook-config-file=w")
	if f := c.Audit.File; f.MaxAge != 366 || f.MaxBackups != 100 || f.MaxSize != 100 || f.Mode != audit.Blocking || f.Format != "json" {
		t.Errorf("%+v", f)
	}
	w := c.Audit.Webhook
	if w.Mode != audit.Batch || w.MaxSize != 400 || w.MaxWait != 30*time.Second || !w.Throttle || w.QPS != 10 || w.Burst != 15 || w.InitialBackoff != 10*time.Second || w.Truncate != nil {
		t.Errorf("%+v", w)
	}
	if c := parsed(t); c.Audit.File != nil || c.Audit.Webhook != nil {
		t.Error("audit without asking")
	}
}

func TestOIDCFlags(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, []byte("PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"--oidc-issuer-url=https://x", "--oidc-client-id=me"}
	for args, want := range map[string]string{
		"": "https://x#", "--oidc-username-claim=email": "", "--oidc-username-prefix=-": "", "--oidc-username-prefix=a:": "a:",
	} {
		o := parsed(t, append(base, strings.Fields(args)...)...).Tokens.OIDC
		if *o.ClaimMappings.Username.Prefix != want {
			t.Errorf("%s: prefix %q", args, *o.ClaimMappings.Username.Prefix)
		}
	}
	o := parsed(t, append(base, "--oidc-ca-file="+ca, "--oidc-required-claim=a=b,c=d", "--oidc-groups-claim=g", "--oidc-signing-algs=RS256,ES256")...).Tokens.OIDC
	if o.Issuer.CertificateAuthority != "PEM" || len(o.ClaimValidationRules) != 2 || *o.ClaimMappings.Groups.Prefix != "" || len(o.Algorithms) != 2 {
		t.Errorf("%+v", o)
	}
	for args, want := range map[string]string{
		"--oidc-issuer-url=https://x": "go together",
		"--oidc-groups-claim=g":       "needs --oidc-issuer-url",
		"--oidc-issuer-url=https://x --oidc-client-id=a --oidc-ca-file=/no":      "--oidc-ca-file",
		"--encryption-provider-config-automatic-reload":                          "needs --encryption-provider-config",
		"--audit-log-version=audit.k8s.io/v1beta1":                               "--audit-log-version",
		"--oidc-issuer-url=https://x --oidc-client-id=a --oidc-required-claim=x": "not CLAIM=VALUE",
	} {
		if _, err := FromArgs(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestAuthorizationFlags(t *testing.T) {
	c := parsed(t)
	if w, err := c.Modes.UsesRBAC(); !w || err != nil || c.Modes.Webhook != nil {
		t.Errorf("%+v: %v", c.Modes, err)
	}
	c = parsed(t, "--authorization-mode=Node,Webhook", "--authorization-webhook-config-file=w", "--authorization-webhook-cache-authorized-ttl=0s")
	w := c.Modes.Webhook
	if w == nil || w.SubjectAccessReviewVersion != "v1beta1" || w.CacheAuthorizedRequests || !w.CacheUnauthorizedRequests || w.UnauthorizedTTL.Duration != 30*time.Second {
		t.Errorf("%+v", w)
	}
	for args, want := range map[string]string{
		"--service-account-issuer=x --service-account-signing-endpoint=/s --service-account-key-file=k": "excludes",
		"--service-account-signing-endpoint=/s":                                                         "needs --service-account-issuer",
		"--authorization-mode=Webhook":                                                                  "needs --authorization-webhook-config-file",
		"--authorization-webhook-config-file=w":                                                         "needs the mode Webhook",
		"--authorization-mode=RBAC,RBAC":                                                                "given twice",
		"--authorization-mode=Magic":                                                                    "unknown authorization mode",
		"--authorization-config=x --authorization-mode=RBAC":                                            "--authorization-mode cannot be given together",
	} {
		if _, err := FromArgs(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

package authn

import (
	"context"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"

	"hyperkube/internal/tokens"
)

// bootstrapTokens accepts tokens that lie in secrets bootstrap-token-<id> of kube-system
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/).
type bootstrapTokens struct{ lookup lookup }

func (b *bootstrapTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	t, err := tokens.ParseBootstrap(token)
	if err != nil {
		return nil, false, nil
	}
	s, ok, err := b.lookup.secret(ctx, metav1.NamespaceSystem, t.SecretName(), "")
	if err != nil || !ok || s.DeletionTimestamp != nil {
		return nil, false, err
	}
	if s.Type != bootstrapapi.SecretTypeBootstrapToken ||
		subtle.ConstantTimeCompare(s.Data[bootstrapapi.BootstrapTokenSecretKey], []byte(t.Secret)) != 1 ||
		string(s.Data[bootstrapapi.BootstrapTokenIDKey]) != t.ID {
		return nil, false, nil
	}
	if !bootstrapValid(s, b.lookup.now()) || string(s.Data[bootstrapapi.BootstrapTokenUsageAuthentication]) != "true" {
		return nil, false, nil
	}
	groups, err := bootstrapGroups(s)
	if err != nil {
		return nil, false, fmt.Errorf("secret %s: %w", s.Name, err)
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: bootstrapapi.BootstrapUserPrefix + t.ID, Groups: groups}}, true, nil
}

// bootstrapValid says whether the token's time is not over; a time that cannot be read counts as over.
func bootstrapValid(s *corev1.Secret, now time.Time) bool {
	text := string(s.Data[bootstrapapi.BootstrapTokenExpirationKey])
	if text == "" {
		return true
	}
	until, err := time.Parse(time.RFC3339, text)
	return err == nil && now.Before(until)
}

var bootstrapGroup = regexp.MustCompile(bootstrapapi.BootstrapGroupPattern)

func bootstrapGroups(s *corev1.Secret) ([]string, error) {
	groups := []string{bootstrapapi.BootstrapDefaultGroup}
	for _, g := range strings.Split(string(s.Data[bootstrapapi.BootstrapTokenExtraGroupsKey]), ",") {
		if g == "" {
			continue
		}
		if !bootstrapGroup.MatchString(g) {
			return nil, fmt.Errorf("bootstrap group %q is invalid (must match %s)", g, bootstrapGroup)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

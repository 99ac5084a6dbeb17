package node

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node/volume"
)

// tokenSource asks the API for service account tokens that end with their pod.
type tokenSource struct{ c client.Interface }

func (k *Kubelet) tokens() volume.Tokens {
	if k.cfg.Client == nil {
		return nil
	}
	return tokenSource{k.cfg.Client}
}

func (t tokenSource) Token(ctx context.Context, p *corev1.Pod, audience string, seconds int64) (volume.Token, error) {
	account := p.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	req := &authenticationv1.TokenRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: account},
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID},
		},
	}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	began := time.Now()
	obj, err := t.c.Create(ctx, client.ServiceAccounts.GVR, req, metav1.CreateOptions{}, "token")
	if err != nil {
		return volume.Token{}, err
	}
	got, ok := obj.(*authenticationv1.TokenRequest)
	if !ok {
		return volume.Token{}, fmt.Errorf("the server answered a token request with a %T", obj)
	}
	return volume.Token{Value: got.Status.Token, Issued: began, Expires: got.Status.ExpirationTimestamp.Time}, nil
}

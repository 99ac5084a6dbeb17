// Package satoken fills secrets of the type kubernetes.io/service-account-token with a token that does not
// expire, for the ServiceAccount that their annotation names, and deletes them with it.
//
// Watches: those Secrets, ServiceAccounts. Writes: those Secrets.
package satoken

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
	"hyperkube/internal/tokens"
)

// Name is upstream's name of the controller.
const Name = "serviceaccount-token-controller"

// byAccount is the index over secrets by the account that they name.
const byAccount = "satoken/account"

type controller struct {
	client   client.Interface
	secrets  *client.Informer[*corev1.Secret]
	accounts *client.Informer[*corev1.ServiceAccount]
	queue    *client.Queue[object.Key] // secrets
	signer   *tokens.Signer
	bundle   []byte
	workers  int
}

// New registers the controller. It writes under the manager's own identity. bundle is put into each secret
// as ca.crt unless empty.
func New(d controllers.Deps, workers int, signer *tokens.Signer, bundle []byte) controllers.Controller {
	c := &controller{
		client:   d.Client(""),
		secrets:  client.InformerWith(d.Informers, client.Secrets, client.Select{Fields: "type=" + string(corev1.SecretTypeServiceAccountToken)}),
		accounts: client.InformerFor(d.Informers, client.ServiceAccounts),
		queue:    client.NewQueue[object.Key](Name),
		signer:   signer,
		bundle:   bundle,
		workers:  workers,
	}
	c.secrets.AddIndex(byAccount, func(s *corev1.Secret) []string {
		return []string{object.Key{Namespace: s.Namespace, Name: s.Annotations[corev1.ServiceAccountNameKey]}.String()}
	})
	c.secrets.OnChange(func(_, new *corev1.Secret) {
		if new != nil {
			c.queue.Add(object.KeyOf(new))
		}
	})
	c.accounts.OnChange(func(old, new *corev1.ServiceAccount) {
		if old != nil && new != nil && old.UID == new.UID {
			return
		}
		a := new
		if a == nil {
			a = old
		}
		for _, s := range c.secrets.ByIndex(byAccount, object.KeyOf(a).String()) {
			c.queue.Add(object.KeyOf(s))
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	s, ok := c.secrets.Get(key.Namespace, key.Name)
	if !ok || s.DeletionTimestamp != nil {
		return nil
	}
	name := s.Annotations[corev1.ServiceAccountNameKey]
	if name == "" {
		return nil
	}
	account, ok := c.accounts.Get(key.Namespace, name)
	if !ok {
		var err error
		account, err = client.ServiceAccounts.Get(ctx, c.client, key.Namespace, name)
		if apierrors.IsNotFound(err) {
			return c.remove(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	if uid := s.Annotations[corev1.ServiceAccountUIDKey]; uid != "" && uid != string(account.UID) {
		return c.remove(ctx, s)
	}
	next, err := c.fill(s, account)
	if err != nil || next == nil {
		return err
	}
	_, err = client.Secrets.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// fill gives the secret all that it should hold; nil when it holds it.
func (c *controller) fill(s *corev1.Secret, account *corev1.ServiceAccount) (*corev1.Secret, error) {
	hasToken := len(s.Data[corev1.ServiceAccountTokenKey]) > 0
	hasBundle := len(c.bundle) == 0 || bytes.Equal(s.Data[corev1.ServiceAccountRootCAKey], c.bundle)
	if hasToken && hasBundle && len(s.Data[corev1.ServiceAccountNamespaceKey]) > 0 && s.Annotations[corev1.ServiceAccountUIDKey] != "" {
		return nil, nil
	}
	next := s.DeepCopy()
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	next.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	if len(c.bundle) > 0 {
		next.Data[corev1.ServiceAccountRootCAKey] = c.bundle
	}
	if len(next.Data[corev1.ServiceAccountNamespaceKey]) == 0 {
		next.Data[corev1.ServiceAccountNamespaceKey] = []byte(s.Namespace)
	}
	if !hasToken {
		token, err := c.signer.Sign(&tokens.Claims{
			Issuer:           tokens.LegacyIssuer,
			Subject:          "system:serviceaccount:" + s.Namespace + ":" + account.Name,
			LegacyNamespace:  s.Namespace,
			LegacySecret:     s.Name,
			LegacyAccount:    account.Name,
			LegacyAccountUID: string(account.UID),
		})
		if err != nil {
			return nil, fmt.Errorf("token of %s/%s: %w", s.Namespace, s.Name, err)
		}
		next.Data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	return next, nil
}

func (c *controller) remove(ctx context.Context, s *corev1.Secret) error {
	err := c.client.Delete(ctx, client.Secrets.GVR, s.Namespace, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

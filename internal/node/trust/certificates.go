package trust

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

func labelsOf(m map[string]string) labels.Labels { return labels.Set(m) }

// CertificatesConfig is what pod certificates need.
type CertificatesConfig struct {
	Client    client.Interface
	Informers *client.Informers
	NodeName  string
	// Changed is told the pods of which a certificate came. It must not block.
	Changed func(types.UID)
	Now     func() time.Time
}

// Certificates gets pod certificates (KEP-4317).
type Certificates struct {
	cfg CertificatesConfig
	log *slog.Logger

	mu       sync.Mutex
	pods     map[types.UID]map[string]*certificate // by volume and source
	requests *client.Informer[*certv1.PodCertificateRequest]
}

// certificate is one projection's.
type certificate struct {
	key, chain       []byte // PEM; nil until the first was issued
	refresh, expires time.Time

	asked   *asked    // nil when none is under way
	retry   time.Time // not before
	failure error
}

// asked is a request under way.
type asked struct {
	name string // empty until it was made
	key  []byte
	done chan struct{}
}

// Bounds of waiting for signers.
const (
	patience   = 3 * time.Second // of a pod's start, before it says that it waits
	retryAfter = time.Minute
	createTime = 30 * time.Second
)

// NewCertificates makes a manager.
func NewCertificates(cfg CertificatesConfig) *Certificates {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Certificates{cfg: cfg, log: slog.Default().With("component", "kubelet"), pods: map[types.UID]map[string]*certificate{}}
}

// PEM gives the key and the chain of a projection, id says which of the pod's. A certificate that is due to be replaced is given until the
// new one is there; without any, an error says what is waited for.
func (c *Certificates) PEM(ctx context.Context, pod *corev1.Pod, id string, p *corev1.PodCertificateProjection) (key, chain []byte, err error) {
	c.mu.Lock()
	now := c.cfg.Now()
	all := c.pods[pod.UID]
	if all == nil {
		all = map[string]*certificate{}
		c.pods[pod.UID] = all
	}
	cert := all[id]
	if cert == nil {
		cert = &certificate{}
		all[id] = cert
	}
	if (cert.chain == nil || !now.Before(cert.refresh)) && cert.asked == nil && !now.Before(cert.retry) {
		cert.asked = &asked{done: make(chan struct{})}
		go c.ask(pod, id, p, cert.asked)
	}
	waiting := cert.asked
	if cert.chain != nil && now.Before(cert.expires) || waiting == nil {
		defer c.mu.Unlock()
		return cert.give(now)
	}
	c.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-waiting.done:
	case <-t.C:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return cert.give(c.cfg.Now())
}

// give is what a projection has now.
func (c *certificate) give(now time.Time) (key, chain []byte, err error) {
	switch {
	case c.chain != nil && now.Before(c.expires):
		return c.key, c.chain, nil
	case c.failure != nil:
		return nil, nil, c.failure
	case c.asked != nil && c.asked.name != "":
		return nil, nil, fmt.Errorf("the certificate that PodCertificateRequest %s asks for is not issued yet", c.asked.name)
	}
	return nil, nil, errors.New("the pod certificate is not asked for yet")
}

// Next is when a certificate of the pod should be looked at again; zero is never.
func (c *Certificates) Next(uid types.UID) (next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cert := range c.pods[uid] {
		at := cert.refresh
		if cert.retry.After(at) {
			at = cert.retry
		}
		if cert.asked == nil && !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Release forgets the certificates of a pod.
func (c *Certificates) Release(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pods, uid)
	if len(c.pods) == 0 && c.requests != nil {
		c.requests.Stop()
		c.requests = nil
	}
}

// follow watches the answers to this node's requests.
func (c *Certificates) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests != nil {
		return
	}
	c.requests = client.InformerWith(c.cfg.Informers, requests, client.Select{Fields: "spec.nodeName=" + c.cfg.NodeName})
	all := c.requests
	go all.OnChange(func(old, now *certv1.PodCertificateRequest) {
		if now != nil {
			c.answered(now, false)
		} else {
			c.answered(old, true)
		}
	})
}

// ask makes a key and a request for it.
func (c *Certificates) ask(pod *corev1.Pod, id string, p *corev1.PodCertificateProjection, a *asked) {
	c.follow()
	ctx, cancel := context.WithTimeout(context.Background(), createTime)
	defer cancel()
	r, key, err := c.request(ctx, pod, p)
	if err == nil {
		r, err = requests.Create(ctx, c.cfg.Client, r)
	}
	c.mu.Lock()
	cert := c.pods[pod.UID][id]
	if cert == nil || cert.asked != a {
		c.mu.Unlock()
		return // the pod is gone
	}
	if err != nil {
		cert.over(fmt.Errorf("pod certificate from %s: %w", p.SignerName, err), c.cfg.Now().Add(retryAfter))
	} else {
		a.name, a.key = r.Name, key
	}
	c.mu.Unlock()
	if err != nil {
		c.cfg.Changed(pod.UID)
		return
	}
	// The answer may have come before its name was known here.
	if got, err := requests.Get(ctx, c.cfg.Client, r.Namespace, r.Name); err == nil {
		c.answered(got, false)
	}
}

// over ends a request. c.mu is held.
func (c *certificate) over(failure error, retry time.Time) {
	close(c.asked.done)
	c.asked, c.failure, c.retry = nil, failure, retry
}

func (c *Certificates) request(ctx context.Context, pod *corev1.Pod, p *corev1.PodCertificateProjection) (*certv1.PodCertificateRequest, []byte, error) {
	key, stub, err := newKey(p.KeyType)
	if err != nil {
		return nil, nil, err
	}
	account, err := client.ServiceAccounts.Get(ctx, c.cfg.Client, pod.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return nil, nil, err
	}
	node, err := client.Nodes.Get(ctx, c.cfg.Client, "", c.cfg.NodeName)
	if err != nil {
		return nil, nil, err
	}
	return &certv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}}},
		Spec: certv1.PodCertificateRequestSpec{
			SignerName: p.SignerName, PodName: pod.Name, PodUID: pod.UID, ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(node.Name), NodeUID: node.UID, MaxExpirationSeconds: p.MaxExpirationSeconds,
			StubPKCS10Request: stub, UnverifiedUserAnnotations: p.UserAnnotations,
		},
	}, key, nil
}

// answered takes the state of a request.
func (c *Certificates) answered(r *certv1.PodCertificateRequest, gone bool) {
	uid := r.Spec.PodUID
	c.mu.Lock()
	var cert *certificate
	for _, one := range c.pods[uid] {
		if one.asked != nil && one.asked.name == r.Name {
			cert = one
		}
	}
	if cert == nil || !cert.take(r, gone, c.cfg.Now()) {
		c.mu.Unlock()
		return
	}
	failure := cert.failure
	c.mu.Unlock()
	if failure != nil {
		c.log.Warn("no pod certificate", "pod", r.Namespace+"/"+r.Spec.PodName, "error", failure)
	}
	c.cfg.Changed(uid)
}

// take what a signer answered; false when it has not. c.mu is held.
func (c *certificate) take(r *certv1.PodCertificateRequest, gone bool, now time.Time) bool {
	for _, cond := range r.Status.Conditions {
		switch {
		case cond.Status != metav1.ConditionTrue:
		case cond.Type == certv1.PodCertificateRequestConditionTypeIssued:
			chain := certificatesOf([]byte(r.Status.CertificateChain))
			if len(chain) == 0 || r.Status.NotAfter == nil {
				c.over(fmt.Errorf("PodCertificateRequest %s is issued without a certificate", r.Name), now.Add(retryAfter))
				return true
			}
			c.key, c.chain, c.expires = c.asked.key, chain, r.Status.NotAfter.Time
			if c.refresh = c.expires; r.Status.BeginRefreshAt != nil {
				c.refresh = r.Status.BeginRefreshAt.Time
			}
			c.over(nil, now.Add(retryAfter))
			return true
		case cond.Type == certv1.PodCertificateRequestConditionTypeDenied, cond.Type == certv1.PodCertificateRequestConditionTypeFailed:
			c.over(fmt.Errorf("PodCertificateRequest %s: %s: %s: %s", r.Name, cond.Type, cond.Reason, cond.Message), now.Add(10*retryAfter))
			return true
		}
	}
	if gone {
		c.over(fmt.Errorf("PodCertificateRequest %s was removed before it was answered", r.Name), now.Add(retryAfter))
	}
	return gone
}

// certificatesOf leaves of PEM text the certificates alone.
func certificatesOf(text []byte) []byte {
	var out bytes.Buffer
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out.Bytes()
		}
		if block.Type == "CERTIFICATE" {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
}

// Package trust gives pods what projected volumes promise for X.509: the certificates that the cluster trusts (cluster trust
// bundles), and certificates of their own (pod certificates), with keys that never leave the node.
//
// [Bundles] follows the cluster's bundles for as long as a pod uses some. [Certificates] makes a key and a request for each
// projection, waits until a signer has answered it, and asks anew when it is time to. Neither costs anything while no pod
// needs it, and both tell by the pod's UID when a volume should be looked at again. All calls are safe for concurrent use.
package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

var (
	bundles  = client.ClusterTrustBundles
	requests = client.PodCertificateRequests
)

// syncTimeout is how long a volume waits for the first list of bundles.
const syncTimeout = 10 * time.Second

// Bundles reads cluster trust bundles.
type Bundles struct {
	informers *client.Informers
	changed   func(types.UID)

	mu      sync.Mutex
	holders map[types.UID]bool
	all     *client.Informer[*certv1.ClusterTrustBundle] // nil while nobody holds
}

// NewBundles makes a reader. changed is told the pods that hold bundles when any changed; it must not block.
func NewBundles(informers *client.Informers, changed func(types.UID)) *Bundles {
	return &Bundles{informers: informers, changed: changed, holders: map[types.UID]bool{}}
}

// hold begins to follow the bundles for a pod, until Release.
func (b *Bundles) hold(uid types.UID) *client.Informer[*certv1.ClusterTrustBundle] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders[uid] = true
	if b.all == nil {
		b.all = client.InformerFor(b.informers, bundles)
		all := b.all
		go all.OnChange(func(_, _ *certv1.ClusterTrustBundle) { b.tell() }) // the handler takes the lock
	}
	return b.all
}

func (b *Bundles) tell() {
	b.mu.Lock()
	var uids []types.UID
	for uid := range b.holders {
		uids = append(uids, uid)
	}
	b.mu.Unlock()
	for _, uid := range uids {
		b.changed(uid)
	}
}

// Release tells that a pod needs no bundles any more.
func (b *Bundles) Release(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.holders, uid)
	if len(b.holders) == 0 && b.all != nil {
		b.all.Stop()
		b.all = nil
	}
}

// PEM gives the certificates that a projection selects, each once and in an order that only depends on them. That there are none is an
// error unless the projection is optional.
func (b *Bundles) PEM(ctx context.Context, pod types.UID, p *corev1.ClusterTrustBundleProjection) ([]byte, error) {
	all := b.hold(pod)
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if err := all.WaitForSync(ctx); err != nil {
		return nil, fmt.Errorf("cluster trust bundles are not known yet: %w", err)
	}
	chosen, err := choose(all.List(), p)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 && (p.Optional == nil || !*p.Optional) {
		if p.Name != nil {
			return nil, fmt.Errorf("clustertrustbundle %q not found", *p.Name)
		}
		return nil, fmt.Errorf("combination of signerName and labelSelector matched zero ClusterTrustBundles: %s", deref(p.SignerName))
	}
	return merge(chosen), nil
}

func choose(all []*certv1.ClusterTrustBundle, p *corev1.ClusterTrustBundleProjection) (out []*certv1.ClusterTrustBundle, err error) {
	if p.Name != nil {
		for _, b := range all {
			if b.Name == *p.Name {
				out = append(out, b)
			}
		}
		return out, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(p.LabelSelector) // nil matches nothing
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.Spec.SignerName == deref(p.SignerName) && selector.Matches(labelsOf(b.Labels)) {
			out = append(out, b)
		}
	}
	return out, nil
}

// merge puts the certificates of bundles together, without what is written around them.
func merge(all []*certv1.ClusterTrustBundle) []byte {
	seen := map[[32]byte][]byte{}
	var sums [][32]byte
	for _, b := range all {
		for rest := []byte(b.Spec.TrustBundle); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			sum := sha256.Sum256(block.Bytes)
			if block.Type == "CERTIFICATE" && seen[sum] == nil {
				seen[sum] = block.Bytes
				sums = append(sums, sum)
			}
		}
	}
	slices.SortFunc(sums, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	var out bytes.Buffer
	for _, sum := range sums {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: seen[sum]}))
	}
	return out.Bytes()
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

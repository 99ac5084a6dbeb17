// Package plugins holds the admission plugins that are compiled in, under upstream's names, one file each
// (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
//
// [Default] builds the chain: upstream's default set, and NodeRestriction, in upstream's order; each can be switched off by
// name. What the plugins need to know they read from local copies that follow the API (priority classes,
// storage classes, limit ranges and other kinds with few objects) or from the server's cache; what is not there is read
// again at its newest state before a request is refused for it. No plugin writes to the API or waits for long.
package plugins

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/authz"
)

// Config says which plugins run and with what.
type Config struct {
	// API has all rights; Informers follow it. Both are required.
	API       client.Interface
	Informers *client.Informers
	// Authorizer decides on the verbs approve, sign and attest. Required.
	Authorizer authz.Decider
	// Audiences of the API server, for which nodes may always request tokens.
	Audiences []string
	// Disable names plugins of the default set to leave out; Enable those to have besides it.
	Enable, Disable []string
	// NotReadySeconds and UnreachableSeconds are the tolerations of such nodes that pods get which have none; nil: 300.
	NotReadySeconds, UnreachableSeconds *int64
	// Extra plugins run behind those of this package, in their order.
	Extra []admission.Plugin
	// Metrics, when set, gets the counters of PodSecurity.
	Metrics prometheus.Registerer
}

type entry struct {
	name    string
	standby bool // not in the default set
	make    func(*Config) (admission.Plugin, error)
}

// table lists the plugins in the order in which they run.
func table() []entry {
	plain := func(p admission.Plugin) func(*Config) (admission.Plugin, error) {
		return func(*Config) (admission.Plugin, error) { return p, nil }
	}
	return []entry{
		{name: "NamespaceLifecycle", make: func(c *Config) (admission.Plugin, error) { return &namespaceLifecycle{c.API}, nil }},
		{name: "LimitRanger", make: func(c *Config) (admission.Plugin, error) { return newLimitRanger(c), nil }},
		{name: "ServiceAccount", make: func(c *Config) (admission.Plugin, error) { return &serviceAccount{c.API}, nil }},
		{name: "NodeRestriction", make: func(c *Config) (admission.Plugin, error) { return &nodeRestriction{c.API, c.Audiences}, nil }},
		{name: "TaintNodesByCondition", make: plain(taintNodes{})},
		{name: "AlwaysPullImages", standby: true, make: plain(alwaysPull{})},
		{name: "PodSecurity", make: func(c *Config) (admission.Plugin, error) { return newPodSecurity(c) }},
		{name: "Priority", make: func(c *Config) (admission.Plugin, error) { return newPriority(c), nil }},
		{name: "DefaultTolerationSeconds", make: func(c *Config) (admission.Plugin, error) { return newDefaultTolerations(c), nil }},
		{name: "PodTopologyLabels", make: func(c *Config) (admission.Plugin, error) { return &podTopology{c.API}, nil }},
		{name: "DefaultStorageClass", make: func(c *Config) (admission.Plugin, error) { return newDefaultStorageClass(c), nil }},
		{name: "StorageObjectInUseProtection", make: plain(inUseProtection{})},
		{name: "PersistentVolumeClaimResize", make: func(c *Config) (admission.Plugin, error) { return &claimResize{c.API}, nil }},
		{name: "RuntimeClass", make: func(c *Config) (admission.Plugin, error) { return &runtimeClass{c.API}, nil }},
		{name: "CertificateApproval", make: func(c *Config) (admission.Plugin, error) { return &certificateApproval{c.Authorizer}, nil }},
		{name: "CertificateSigning", make: func(c *Config) (admission.Plugin, error) { return &certificateSigning{c.Authorizer}, nil }},
		{name: "ClusterTrustBundleAttest", make: func(c *Config) (admission.Plugin, error) { return &bundleAttest{c.Authorizer}, nil }},
		{name: "CertificateSubjectRestriction", make: plain(certificateSubject{})},
		{name: "DefaultIngressClass", make: func(c *Config) (admission.Plugin, error) { return newDefaultIngressClass(c), nil }},
		{name: "DenyServiceExternalIPs", standby: true, make: plain(denyExternalIPs{})},
	}
}

// Names lists all plugins; those of the default set alone when defaults is true.
func Names(defaults bool) []string {
	var out []string
	for _, e := range table() {
		if !defaults || !e.standby {
			out = append(out, e.name)
		}
	}
	return out
}

// elsewhere are upstream's plugins that other packages bring, as Extra; naming them here is no mistake.
var elsewhere = []string{"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota"}

// Default builds the chain.
func Default(c Config) (*admission.Chain, error) {
	known := append(Names(false), elsewhere...)
	for _, n := range append(slices.Clone(c.Enable), c.Disable...) {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("unknown admission plugin %q: known are %v", n, known)
		}
		if slices.Contains(c.Enable, n) && slices.Contains(c.Disable, n) {
			return nil, fmt.Errorf("admission plugin %q is both enabled and disabled", n)
		}
	}
	var all []admission.Plugin
	for _, e := range table() {
		if slices.Contains(c.Disable, e.name) || e.standby && !slices.Contains(c.Enable, e.name) {
			continue
		}
		p, err := e.make(&c)
		if err != nil {
			return nil, fmt.Errorf("admission plugin %s: %w", e.name, err)
		}
		all = append(all, p)
	}
	for _, p := range c.Extra {
		if !slices.Contains(c.Disable, p.Name()) {
			all = append(all, p)
		}
	}
	return admission.NewChain(all...)
}

// find reads an object from the server's cache or, when it is not there, at its newest state.
func find[T client.Object](ctx context.Context, c client.Interface, r client.Resource[T], namespace, name string) (T, error) {
	o, err := c.Get(ctx, r.GVR, namespace, name, metav1.GetOptions{ResourceVersion: "0"})
	if err == nil {
		if t, ok := o.(T); ok {
			return t, nil
		}
	} else if !apierrors.IsNotFound(err) {
		var none T
		return none, err
	}
	return r.Get(ctx, c, namespace, name)
}

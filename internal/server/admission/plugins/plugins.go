// Package plugins holds the admission plugins that are compiled in, under upstream's names, one file each
// (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
//
// [Default] builds the chain: upstream's default set, and NodeRestriction, in upstream's order; each can be switched off by
// name, and the others on. Some take a document from the file of --admission-control-config-file ([LoadSettings]). What the plugins need to know they read from local copies that follow the API (priority classes,
// storage classes, limit ranges and other kinds with few objects) or from the server's cache; what is not there is read
// again at its newest state before a request is refused for it. But for NamespaceAutoProvision, no plugin writes to the API; but
// for ImagePolicyWebhook, none waits for long.
package plugins

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
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
	// Table maps kinds to resources.
	Table *object.Table
	// Settings configure plugins.
	Settings Settings
	// Disable names plugins of the default set to leave out; Enable those to have besides it.
	Enable, Disable []string
	// NotReadySeconds and UnreachableSeconds are the tolerations of such nodes that pods get which have none; nil: 300.
	NotReadySeconds, UnreachableSeconds *int64
	// Extra plugins run behind those of this package but AlwaysDeny, in their order.
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
		{name: "AlwaysAdmit", standby: true, make: plain(alwaysAdmit{})},
		{name: "NamespaceAutoProvision", standby: true, make: func(c *Config) (admission.Plugin, error) { return &namespaceProvision{c.API}, nil }},
		{name: "NamespaceLifecycle", make: func(c *Config) (admission.Plugin, error) { return &namespaceLifecycle{c.API}, nil }},
		{name: "NamespaceExists", standby: true, make: func(c *Config) (admission.Plugin, error) { return &namespaceExists{c.API}, nil }},
		{name: "LimitPodHardAntiAffinityTopology", standby: true, make: plain(hardAntiAffinity{})},
		{name: "LimitRanger", make: func(c *Config) (admission.Plugin, error) { return newLimitRanger(c), nil }},
		{name: "ServiceAccount", make: func(c *Config) (admission.Plugin, error) { return &serviceAccount{c.API}, nil }},
		{name: "NodeRestriction", make: func(c *Config) (admission.Plugin, error) { return &nodeRestriction{c.API, c.Audiences}, nil }},
		{name: "TaintNodesByCondition", make: plain(taintNodes{})},
		{name: "AlwaysPullImages", standby: true, make: plain(alwaysPull{})},
		{name: "ImagePolicyWebhook", standby: true, make: func(c *Config) (admission.Plugin, error) { return newImagePolicy(c) }},
		{name: "PodSecurity", make: func(c *Config) (admission.Plugin, error) { return newPodSecurity(c) }},
		{name: "PodNodeSelector", standby: true, make: func(c *Config) (admission.Plugin, error) { return newPodNodeSelector(c) }},
		{name: "Priority", make: func(c *Config) (admission.Plugin, error) { return newPriority(c), nil }},
		{name: "DefaultTolerationSeconds", make: func(c *Config) (admission.Plugin, error) { return newDefaultTolerations(c), nil }},
		{name: "PodTolerationRestriction", standby: true, make: func(c *Config) (admission.Plugin, error) { return newTolerationRestriction(c) }},
		{name: "EventRateLimit", standby: true, make: func(c *Config) (admission.Plugin, error) { return newEventRate(c) }},
		{name: "ExtendedResourceToleration", standby: true, make: plain(extendedToleration{})},
		{name: "DefaultStorageClass", make: func(c *Config) (admission.Plugin, error) { return newDefaultStorageClass(c), nil }},
		{name: "StorageObjectInUseProtection", make: plain(inUseProtection{})},
		{name: "OwnerReferencesPermissionEnforcement", standby: true, make: func(c *Config) (admission.Plugin, error) { return &ownerReferences{c.Authorizer, c.Table}, nil }},
		{name: "PersistentVolumeClaimResize", make: func(c *Config) (admission.Plugin, error) { return &claimResize{c.API}, nil }},
		{name: "RuntimeClass", make: func(c *Config) (admission.Plugin, error) { return &runtimeClass{c.API}, nil }},
		{name: "CertificateApproval", make: func(c *Config) (admission.Plugin, error) { return &certificateApproval{c.Authorizer}, nil }},
		{name: "CertificateSigning", make: func(c *Config) (admission.Plugin, error) { return &certificateSigning{c.Authorizer}, nil }},
		{name: "ClusterTrustBundleAttest", make: func(c *Config) (admission.Plugin, error) { return &bundleAttest{c.Authorizer}, nil }},
		{name: "CertificateSubjectRestriction", make: plain(certificateSubject{})},
		{name: "DefaultIngressClass", make: func(c *Config) (admission.Plugin, error) { return newDefaultIngressClass(c), nil }},
		{name: "PodTopologyLabels", make: func(c *Config) (admission.Plugin, error) { return &podTopology{c.API}, nil }},
		{name: "DenyServiceExternalIPs", standby: true, make: plain(denyExternalIPs{})},
	}
}

// last refuses only what all others would admit.
var last = entry{name: "AlwaysDeny", standby: true, make: func(*Config) (admission.Plugin, error) { return alwaysDeny{}, nil }}

// elsewhere are upstream's plugins that other packages bring, as Extra or as a part of the server.
var elsewhere = []string{"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota"}

// DefaultNames lists the plugins that run unless they are switched off, in their order.
func DefaultNames() []string {
	var out []string
	for _, e := range table() {
		if !e.standby {
			out = append(out, e.name)
		}
	}
	return append(out, elsewhere...)
}

// AllNames lists every plugin in its order.
func AllNames() []string {
	var out []string
	for _, e := range table() {
		out = append(out, e.name)
	}
	return append(append(out, elsewhere...), last.name)
}

// CheckNames refuses names that no plugin has, and plugins that are to be on and off at once.
func CheckNames(enable, disable []string) error {
	for _, n := range slices.Concat(enable, disable) {
		if !slices.Contains(AllNames(), n) {
			return fmt.Errorf("unknown admission plugin %q: known are %v", n, AllNames())
		}
		if slices.Contains(enable, n) && slices.Contains(disable, n) {
			return fmt.Errorf("admission plugin %q is both enabled and disabled", n)
		}
	}
	return nil
}

// Default builds the chain.
func Default(c Config) (*admission.Chain, error) {
	if err := CheckNames(c.Enable, c.Disable); err != nil {
		return nil, err
	}
	var all []admission.Plugin
	add := func(e entry) error {
		if slices.Contains(c.Disable, e.name) || e.standby && !slices.Contains(c.Enable, e.name) {
			return nil
		}
		p, err := e.make(&c)
		if err != nil {
			return fmt.Errorf("admission plugin %s: %w", e.name, err)
		}
		all = append(all, p)
		return nil
	}
	for _, e := range table() {
		if err := add(e); err != nil {
			return nil, err
		}
	}
	for _, p := range c.Extra {
		if !slices.Contains(c.Disable, p.Name()) {
			all = append(all, p)
		}
	}
	if err := add(last); err != nil {
		return nil, err
	}
	return admission.NewChain(all...)
}

// find reads an object from the server's cache or, when it is not there, at its newest state.
func find[T client.Object](ctx context.Context, c client.Interface, r client.Resource[T], namespace, name string) (T, error) {
	var o client.Object
	var err error
	if k, ok := c.(client.Knowing); ok {
		o, err = k.Known(ctx, r.GVR, namespace, name)
	} else {
		o, err = c.Get(ctx, r.GVR, namespace, name, metav1.GetOptions{ResourceVersion: "0"})
	}
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

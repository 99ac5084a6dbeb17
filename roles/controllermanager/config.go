package controllermanager

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/legacytokens"
	"hyperkube/internal/controllers/nodelifecycle"
	"hyperkube/internal/controllers/podautoscaler"
	"hyperkube/internal/pki"
	"hyperkube/internal/secureport"
	"hyperkube/internal/tokens"
)

// Config says what the controller manager does. Zero values are upstream's defaults unless a field says otherwise.
type Config struct {
	// As gives clients of an API server in this process, for any identity. Without it, REST says how to reach one.
	As   func(user.Info) client.Interface
	REST *rest.Config
	// UseServiceAccountCredentials makes every controller call under a service account of its own over REST. Over As they
	// always do.
	UseServiceAccountCredentials bool

	// Controllers to run: "*" for all that are on by default, "name" for one more, "-name" for one less. None is "*".
	Controllers []string
	// Workers is how many keys a controller works on at a time, by its name; others have their defaults.
	Workers map[string]int

	LeaderElection LeaderElection
	Serving        Serving

	AllocateNodeCIDRs    bool
	ClusterCIDRs         []netip.Prefix
	ServiceCIDRs         []netip.Prefix
	NodeMaskV4           int // 24
	NodeMaskV6           int // 64
	NodeLifecycle        nodelifecycle.Options
	Autoscaler           podautoscaler.Options // upstream's defaults when all is zero
	ClusterDNS           netip.Addr            // of the Service kube-system/kube-dns; without, name servers of nodes are not published
	TerminatedPods       int                   // how many may stay; 12500, less than 0 for all
	MaxEndpointsPerSlice int                   // 100

	// Signing are the authority's files for each signer (kubernetes.io/kubelet-serving, …); the one named "" is for
	// all signers that have none of their own.
	Signing         map[string]Authority
	SigningDuration time.Duration // a year
	// KubeletServingAutoApprove approves the serving certificates of kubelets that hold nothing but their node's addresses.
	KubeletServingAutoApprove bool
	// RootCAFile is published in every namespace as the authority of the API server.
	RootCAFile string
	// ServiceAccountKeyFile signs the tokens that live in secrets.
	ServiceAccountKeyFile string
	// LegacyTokenPeriod is how long a token of the old kind may be idle; a year.
	LegacyTokenPeriod time.Duration
}

// Authority is where a certificate authority lies.
type Authority struct{ CertFile, KeyFile string }

// LeaderElection says whether and how one of several managers is chosen to work.
type LeaderElection struct {
	Enabled       bool
	Namespace     string        // kube-system
	Name          string        // kube-controller-manager
	Identity      string        // the host's name and a random part
	LeaseDuration time.Duration // 15 s
	RenewDeadline time.Duration // 10 s
	RetryPeriod   time.Duration // 2 s
}

// Serving says where health and metrics are served: port 10257 by default, less than 0 serves nothing.
type Serving = secureport.Config

// signers are those that the manager serves.
var signers = []string{
	certv1.KubeAPIServerClientSignerName, certv1.KubeAPIServerClientKubeletSignerName, certv1.KubeletServingSignerName,
	"kubernetes.io/legacy-unknown",
}

// material is what the configuration's files hold.
type material struct {
	authorities map[string]*pki.CA
	rootCA      []byte
	signer      *tokens.Signer
}

func (c *Config) setDefaults() error {
	if c.As == nil && c.REST == nil {
		return errors.New("no API server is named: --kubeconfig is missing")
	}
	if len(c.Controllers) == 0 {
		c.Controllers = []string{"*"}
	}
	if c.Autoscaler == (podautoscaler.Options{}) {
		c.Autoscaler = podautoscaler.Defaults()
	}
	if c.TerminatedPods == 0 {
		c.TerminatedPods = 12500
	}
	if c.LegacyTokenPeriod == 0 {
		c.LegacyTokenPeriod = legacytokens.DefaultPeriod
	}
	if c.Serving.Port == 0 {
		c.Serving.Port = 10257
	}
	e := &c.LeaderElection
	if e.Namespace == "" {
		e.Namespace = "kube-system"
	}
	if e.Name == "" {
		e.Name = "kube-controller-manager"
	}
	if e.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name of this host: %w", err)
		}
		e.Identity = host + "_" + newUUID()
	}
	return nil
}

func (c *Config) load() (*material, error) {
	m := &material{authorities: map[string]*pki.CA{}}
	read := map[Authority]*pki.CA{}
	for _, name := range signers {
		a, ok := c.Signing[name]
		if !ok || a.CertFile == "" {
			a, ok = c.Signing[""]
		}
		if !ok || a.CertFile == "" {
			continue
		}
		if read[a] == nil {
			ca, err := pki.LoadCA(a.CertFile, a.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("authority of signer %s: %w", name, err)
			}
			read[a] = ca
		}
		if read[a].Key != nil {
			m.authorities[name] = read[a]
		}
	}
	if c.RootCAFile != "" {
		data, err := os.ReadFile(c.RootCAFile)
		if err != nil {
			return nil, fmt.Errorf("--root-ca-file: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--root-ca-file %s holds no certificate", c.RootCAFile)
		}
		m.rootCA = data
	}
	if c.ServiceAccountKeyFile != "" {
		key, err := pki.LoadKey(c.ServiceAccountKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--service-account-private-key-file: %w", err)
		}
		if m.signer, err = tokens.NewSigner(key); err != nil {
			return nil, fmt.Errorf("--service-account-private-key-file: %w", err)
		}
	}
	return m, nil
}

// Package apiserver is the role of the API server: it reads flags, opens the datastore, puts authentication,
// authorization, admission and the handlers of streams together, and runs internal/server.
package apiserver

import (
	"net"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"

	"hyperkube/internal/flags"
	"hyperkube/internal/pki"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
)

// Config of an API server. File names are of PEM files, which are read again when they change unless said otherwise.
type Config struct {
	// EtcdServers are those of an external datastore; none: one is embedded, with its data in DataDir/etcd.
	EtcdServers                       []string
	EtcdCertFile, EtcdKeyFile, EtcdCA string
	EtcdPrefix                        string
	DataDir                           string
	EncryptionFile                    string // EncryptionConfiguration; empty: values are stored as they are
	EncryptionReload                  bool

	BindAddress      string
	Port             int
	AdvertiseAddress net.IP
	TLSCertFile      string // with TLSKeyFile; without, a self-signed pair is made in CertDir
	TLSKeyFile       string
	CertDir          string
	TLS              flags.TLS
	ClientCAFile     string

	ServiceCIDRs  []*net.IPNet
	NodePortRange utilnet.PortRange

	ServiceAccountIssuers     []string
	ServiceAccountKeyFiles    []string // public or private keys; read once
	ServiceAccountSigningKey  string   // private key; read once
	ServiceAccountEndpoint    string   // unix socket of an external signer, in place of keys
	ServiceAccountMaxLife     time.Duration
	ServiceAccountNoExtension bool
	ServiceAccountJWKSURI     string
	APIAudiences              []string

	Modes           authz.Config // who decides who may do what; clients are filled in
	NoAnonymous     bool
	BootstrapTokens bool
	TokenFile       string
	Tokens          authn.Config // issuers, webhook and configuration file; the rest of it is made of the fields here

	KubeletClientCert, KubeletClientKey, KubeletCA string
	KubeletAddressTypes                            []string

	// ProxyClient is what the server shows to API servers that are part of it; empty: nothing.
	ProxyClient     pki.Pair
	FollowRedirects bool // of those servers' answers

	FrontProxyCA                                                   string
	FrontProxyNames                                                []string
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string

	EnableAdmission, DisableAdmission []string
	AdmissionFile                     string // AdmissionConfiguration; empty: none
	// NotReadySeconds and UnreachableSeconds are how long pods stay on such a node that say nothing of it; nil: 300.
	NotReadySeconds, UnreachableSeconds *int64

	MaxInFlight, MaxMutatingInFlight      int  // together the seats that fairness shares out
	NoFairness                            bool // each of the two bounds is kept by itself
	RequestTimeout                        time.Duration
	MinRequestTimeout                     time.Duration
	ShutdownDelay, WatchGrace, LivezGrace time.Duration
	ShutdownRetryAfter                    bool
	EventTTL                              time.Duration
	CompactionInterval                    time.Duration // 5 min; negative: never
	GoawayChance                          float64
	Profiling                             bool

	Audit       audit.Config
	TracingFile string // TracingConfiguration; empty: no traces

	// RuntimeConfig switches served versions on or off: "autoscaling/v1=false".
	RuntimeConfig []string

	// Components are what componentstatuses asks, by name; nil means the ports of this machine.
	Components map[string]string
	// Publish is the URL and CA file that machines with a bootstrap token learn from kube-public/cluster-info; empty URL publishes
	// nothing.
	PublishURL, PublishCA string
}

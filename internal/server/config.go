package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	quotaconfig "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/health"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/discovery"
	"hyperkube/internal/server/encryption"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/tracing"
)

// Config is what an API server is made of. The zero value of a field means upstream's default unless it says otherwise.
type Config struct {
	// Etcd is the datastore; Prefix the root of all keys, "/registry" when empty.
	Etcd   *clientv3.Client
	Prefix string
	// Encryption of values in the datastore; nil: they are stored as they are.
	Encryption *encryption.Set
	// Table holds the rows to serve. Required.
	Table *object.Table

	// Listener, when set, is served in place of BindAddress:Port.
	Listener    net.Listener
	BindAddress string // "0.0.0.0"
	Port        int    // 6443; negative: an unused one
	// AdvertiseAddress is published as the endpoint of default/kubernetes; nil publishes nothing.
	AdvertiseAddress net.IP
	// TLS is the server's certificate and client CA setting. Required to Run.
	TLS *tls.Config

	ServiceCIDRs  []*net.IPNet
	NodePortRange utilnet.PortRange

	// MaxInFlight and MaxMutatingInFlight bound the requests served at once, long-running ones apart (400, 200).
	// Ignored with a FlowControl of its own.
	MaxInFlight, MaxMutatingInFlight int
	RequestTimeout                   time.Duration // 60 s
	MinRequestTimeout                time.Duration // least time that a watch without timeoutSeconds stays open: 30 min
	// ShutdownDelay is how long the server goes on serving, /readyz failing, before it drains.
	ShutdownDelay time.Duration
	// LivezGrace is how long after New /livez passes over parts of the start that are not done.
	LivezGrace time.Duration
	// WatchGrace is the time over which watches and streams are ended then, and which they have for it; 0: all at once.
	WatchGrace time.Duration
	// ShutdownRetryAfter lets a draining server go on listening until requests in flight are answered, and tell everybody else to come
	// back: 429 with Retry-After.
	ShutdownRetryAfter bool
	EventTTL           time.Duration // 1 h
	// CompactionInterval is how long history is kept in the datastore: 5 min; negative: for ever.
	CompactionInterval time.Duration
	// GoawayChance is the share of HTTP/2 requests whose connection is closed after them, so that clients spread over
	// servers behind a load balancer.
	GoawayChance float64
	Profiling    bool // serve /debug/pprof

	// Components are the addresses that componentstatuses asks, by name: "scheduler": "https://127.0.0.1:10259/healthz".
	Components map[string]string

	Parts
	// Wire, when set, is called once by New to fill in parts that themselves need the API (an authorizer on RBAC
	// objects, admission plugins with informers). c has all rights; reads wait until the server runs.
	Wire func(c client.Interface, p *Parts) error
}

// Parts are what is plugged into the pipeline.
type Parts struct {
	// Table is the server's own, for parts that look rows up. The server sets it.
	Table *object.Table
	// Metrics is where parts register theirs. The server sets it.
	Metrics prometheus.Registerer
	// Authenticator of the HTTP door; nil: everyone is system:anonymous.
	Authenticator authenticator.Request
	// Impersonate acts on Impersonate-* headers after authentication; nil refuses them.
	Impersonate func(r *http.Request, req *request.Request) error
	// Authorizer of both doors; nil allows everything.
	Authorizer authorizer.Authorizer
	Admission  *admission.Chain
	// FlowControl admits a request or fails; done is called when the request has ended. nil: the in-flight limits.
	FlowControl func(ctx context.Context, req *request.Request) (done func(), err error)
	// Audit logs what both doors are asked; nil: no audit.
	Audit *audit.Log
	// Tracer makes spans of what the HTTP door is asked; nil: no traces. Its end is the server's.
	Tracer *tracing.Tracer

	// Subresources are the handlers of subresources that are not plain storage. The key "" is the resource
	// itself, for virtual kinds.
	Subresources map[schema.GroupResource]map[string]SubresourceHandler
	// Handlers serve paths that are no resources: exact paths, or prefixes ending in a slash. Authenticated and
	// authorized like everything.
	Handlers map[string]http.Handler
	// NoQuota leaves ResourceQuotas unheeded.
	NoQuota bool
	// Limited is what may be used only where a ResourceQuota allows for it.
	Limited []quotaconfig.LimitedResource
	// Hooks see every write of a kind between validation and store (IP allocation, quota).
	Hooks map[schema.GroupResource]WriteHook
	// Followed are the kinds that the parts follow, a write of which is answered when they know of it ([registry.Config]).
	Followed map[schema.GroupResource]func(ctx context.Context, revision int64)
	// Delegate is asked for API paths whose group and version no row serves (aggregation); false: not mine.
	Delegate func(w http.ResponseWriter, r *http.Request, req *request.Request) bool
	// Groups adds group versions to discovery that no row serves (aggregation). Its content may change at any time; the
	// server asks on every request for discovery.
	Groups func() []DiscoveredGroup
	// Checks are further readiness checks, by name.
	Checks []Check
	// Background runs with the server; an error is logged and ends it.
	Background []func(ctx context.Context) error
}

// DiscoveredGroup is a group version served elsewhere.
type DiscoveredGroup = discovery.Foreign

// SubresourceHandler serves one subresource (or a virtual kind). Connect gets the raw HTTP exchange and
// works only through the HTTP door; the others take and give objects and work through both.
type SubresourceHandler struct {
	// Connect serves every method of the subresource: exec, attach, portforward, proxy, log. The request is authenticated and
	// authorized. Handlers that need admission call Server.AdmitConnect.
	Connect func(w http.ResponseWriter, r *http.Request, req *request.Request)

	// New makes an empty body for Create and Update in the version asked for.
	New func() object.Object
	// Create handles POST. req.Name is the parent's name. No object and no error answer with a Status of success.
	Create func(ctx context.Context, req *request.Request, body object.Object, o metav1.CreateOptions) (object.Object, error)
	// Get handles GET.
	Get func(ctx context.Context, req *request.Request, o metav1.GetOptions) (object.Object, error)
	// Base is what a patch is applied to, where that is not just what Get shows.
	Base func(ctx context.Context, req *request.Request, o metav1.GetOptions) (object.Object, error)
	// Update handles PUT, and PATCH by way of Base or Get. A body with a resourceVersion must be refused with a conflict when
	// that is not the current one.
	Update func(ctx context.Context, req *request.Request, body object.Object, o metav1.UpdateOptions) (object.Object, error)
	// Apply handles server-side apply; nil: what is applied is merged by way of Get and Update.
	Apply func(ctx context.Context, req *request.Request, body *unstructured.Unstructured, o metav1.PatchOptions) (object.Object, error)
	// List handles GET of the collection of a virtual kind.
	List func(ctx context.Context, req *request.Request, o metav1.ListOptions) (*client.List, error)
}

// WriteHook sees each write of a kind just before it is stored; see [registry.WriteHook].
type WriteHook = registry.WriteHook

// Check is one readiness check.
type Check = health.Check

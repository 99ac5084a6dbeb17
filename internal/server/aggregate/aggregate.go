// Package aggregate makes other API servers part of this one: an APIService names a group version and the service whose pods serve it.
//
// Requests for such a group version are authenticated and authorized here and passed on with the user's identity in X-Remote-* headers, under
// the front proxy's certificate. What the other servers serve is asked for when their service changes, and every half a minute after that; it
// goes into discovery and OpenAPI, and whether it could be asked into the APIService's condition Available. For what this server serves
// itself there are APIServices without a service, which the package keeps.
//
// Watches: APIServices and CustomResourceDefinitions, and services and endpoint slices once an APIService names a service. Writes: status of
// APIServices, and those it keeps itself. Nothing is asked and nobody is woken while there are only APIServices of this server.
package aggregate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/discovery"
	"hyperkube/internal/server/request"
)

var (
	apiServices = client.Resource[*apiregistrationv1.APIService]{GVR: apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")}
	definitions = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}
)

const (
	// period is how often a server that answers is asked again.
	period = 30 * time.Second
	// byService is the index of APIServices by the service that they name.
	byService = "aggregate/service"
)

// Config of the aggregation.
type Config struct {
	// API has all rights.
	API   client.Interface
	Table *object.Table
	// Certificate is what this server shows to the others, by which they know it; nil: none, and they will not believe who the user is.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// FollowRedirects passes on answers that lead the client elsewhere, which are errors otherwise.
	FollowRedirects bool
}

// Aggregator passes requests on and keeps the books of who serves what.
type Aggregator struct {
	cfg      Config
	log      *slog.Logger
	watched  *client.Informers
	services *client.Informer[*apiregistrationv1.APIService]
	crds     *client.Informer[*apiextensionsv1.CustomResourceDefinition]
	queue    *client.Queue[string]
	local    *client.Queue[string]
	metrics  metrics
	wake     sync.Once // starts to watch services

	mu      sync.RWMutex
	remotes map[schema.GroupVersion]*remote
	foreign []discovery.Foreign
	tag     string // of their OpenAPI documents
}

// New makes an aggregator; it acts while Run runs.
func New(cfg Config) *Aggregator {
	a := &Aggregator{
		cfg: cfg, log: slog.Default().With("component", "aggregator"), watched: client.NewInformers(cfg.API), remotes: map[schema.GroupVersion]*remote{},
		queue:   client.NewQueueWithBackoff[string]("aggregator", 100*time.Millisecond, period),
		local:   client.NewQueue[string]("aggregator-local"),
		metrics: newMetrics(),
	}
	a.services = client.InformerFor(a.watched, apiServices)
	a.crds = client.InformerFor(a.watched, definitions)
	a.services.AddIndex(byService, func(s *apiregistrationv1.APIService) []string {
		if s.Spec.Service == nil {
			return nil
		}
		return []string{s.Spec.Service.Namespace + "/" + s.Spec.Service.Name}
	})
	a.services.OnChange(func(old, new *apiregistrationv1.APIService) {
		either := new
		if either == nil {
			either = old
		}
		if old == nil || new == nil || old.Generation != new.Generation || old.UID != new.UID {
			a.queue.Add(either.Name)
		}
		if new == nil || managed(new) != "" {
			a.local.Add(everything)
		}
	})
	a.crds.OnChange(func(_, _ *apiextensionsv1.CustomResourceDefinition) { a.local.Add(everything) })
	return a
}

// Run keeps the books until ctx ends.
func (a *Aggregator) Run(ctx context.Context) error {
	a.watched.Start(ctx)
	if err := a.watched.WaitForSync(ctx); err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	a.local.Add(everything)
	var wg sync.WaitGroup
	wg.Go(func() { client.RunWorkers(ctx, a.local, 1, a.keepLocal) })
	wg.Go(func() { client.RunWorkers(ctx, a.queue, 4, a.reconcile) })
	wg.Wait()
	return nil
}

// watchServices has changes of the services and of their endpoints looked at, from the first APIService on that names a service.
func (a *Aggregator) watchServices(ctx context.Context) {
	a.wake.Do(func() {
		touched := func(namespace, name string) {
			for _, s := range a.services.ByIndex(byService, namespace+"/"+name) {
				a.queue.Forget(s.Name)
				a.queue.Add(s.Name)
			}
		}
		late := client.NewInformers(a.cfg.API)
		client.InformerFor(late, client.Services).OnChange(func(old, new *corev1.Service) {
			if new == nil {
				new = old
			}
			touched(new.Namespace, new.Name)
		})
		client.InformerFor(late, client.EndpointSlices).OnChange(func(old, new *discoveryv1.EndpointSlice) {
			if new == nil {
				new = old
			}
			touched(new.Namespace, new.Labels[discoveryv1.LabelServiceName])
		})
		late.Start(ctx)
	})
}

// reconcile looks at one APIService: may its server be asked, and what does it serve?
func (a *Aggregator) reconcile(ctx context.Context, name string) error {
	s, ok := a.services.Get("", name)
	if !ok || s.Spec.Service == nil {
		a.forget(name)
		if ok {
			a.metrics.count(name, localCondition())
			return a.tell(ctx, s, localCondition())
		}
		return nil
	}
	a.watchServices(ctx)
	r := a.remoteOf(s)
	cond, failed := a.judge(ctx, s, r)
	a.update(r, failed == nil)
	a.metrics.count(s.Name, cond)
	if err := a.tell(ctx, s, cond); err != nil {
		return err
	}
	if failed == nil {
		a.queue.AddAfter(name, period)
	}
	return failed
}

// remoteOf gives the remote of an APIService, a new one when its specification is another.
func (a *Aggregator) remoteOf(s *apiregistrationv1.APIService) *remote {
	gv := schema.GroupVersion{Group: s.Spec.Group, Version: s.Spec.Version}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.remotes[gv]; r != nil && r.uid == s.UID && r.generation == s.Generation {
		return r
	}
	r := a.newRemote(s, gv)
	if old := a.remotes[gv]; old != nil {
		old.close()
	}
	a.remotes[gv] = r
	a.derive()
	return r
}

func (a *Aggregator) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for gv, r := range a.remotes {
		if r.name == name {
			r.close()
			delete(a.remotes, gv)
			a.metrics.forget(name)
			a.derive()
		}
	}
}

// update takes over what a remote has said.
func (a *Aggregator) update(r *remote, available bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.take(available) {
		a.derive()
	}
}

// derive makes what discovery is told. Guarded by the lock.
func (a *Aggregator) derive() {
	a.foreign, a.tag = nil, ""
	sum := sha256.New()
	for _, gv := range slices.SortedFunc(maps.Keys(a.remotes), func(x, y schema.GroupVersion) int { return strings.Compare(x.String(), y.String()) }) {
		r := a.remotes[gv]
		a.foreign = append(a.foreign, discovery.Foreign{
			GroupVersion: gv, GroupPriority: r.spec.GroupPriorityMinimum, VersionPriority: r.spec.VersionPriority,
			Resources: r.said.resources, Stale: !r.available,
		})
		fmt.Fprintln(sum, gv, r.uid, r.available, r.said.v3, r.said.v2tag, r.said.v2 != nil)
	}
	if len(a.remotes) > 0 {
		a.tag = hex.EncodeToString(sum.Sum(nil)[:16])
	}
}

// Groups are the group versions that others serve, for discovery.
func (a *Aggregator) Groups() []discovery.Foreign {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.foreign
}

// Delegate passes a request on to the server of its group version; false: there is none.
func (a *Aggregator) Delegate(w http.ResponseWriter, r *http.Request, req *request.Request) bool {
	gv := schema.GroupVersion{Group: req.APIGroup, Version: req.APIVersion}
	if !req.IsResourceRequest {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(parts) < 3 || parts[0] != "apis" {
			return false
		}
		gv = schema.GroupVersion{Group: parts[1], Version: parts[2]}
	}
	return a.pass(gv, w, r)
}

func (a *Aggregator) pass(gv schema.GroupVersion, w http.ResponseWriter, r *http.Request) bool {
	a.mu.RLock()
	remote := a.remotes[gv]
	available := remote != nil && remote.available
	a.mu.RUnlock()
	if remote == nil {
		return false
	}
	if !available {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return true
	}
	remote.proxy.ServeHTTP(w, r)
	return true
}

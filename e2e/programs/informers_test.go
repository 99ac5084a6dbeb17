package programs

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	clientfeatures "k8s.io/client-go/features"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// testInformers has informers of each kind see the same, by watches alone: with WatchListClient there is no list.
func testInformers(t *testing.T, c cluster, ns string) {
	if !clientfeatures.FeatureGates().Enabled(clientfeatures.WatchListClient) {
		t.Fatal("WatchListClient is off")
	}
	seen := watchAll(t, c, ns)
	maps := c.client(t).CoreV1().ConfigMaps(ns)
	const n = 30
	for i := range n {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("seen-%d", i)}}
		if _, err := maps.Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		seen.await(t, fmt.Sprintf("seen-%d", i), true)
	}
	for i := range n {
		if err := maps.Delete(t.Context(), fmt.Sprintf("seen-%d", i), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		seen.await(t, fmt.Sprintf("seen-%d", i), false)
	}
	if seen.lists.Len() > 0 {
		t.Errorf("informers listed: %v", seen.lists.urls)
	}
}

// views are informers of the same objects.
type views struct {
	names     []string
	informers []cache.SharedIndexInformer
	changed   chan struct{}
	lists     *record
}

// watchAll starts a typed, a dynamic and a metadata informer of a namespace's config maps, and waits until they are in step.
func watchAll(t *testing.T, c cluster, ns string) *views {
	t.Helper()
	v := &views{names: []string{"typed", "dynamic", "metadata"}, changed: make(chan struct{}, 1), lists: &record{}}
	config := c.config(t)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return recorder{next, v.lists} })
	resource := corev1.SchemeGroupVersion.WithResource("configmaps")
	typed := informers.NewSharedInformerFactoryWithOptions(made(t, kubernetes.NewForConfig, config), 0, informers.WithNamespace(ns))
	dyn := dynamicinformer.NewFilteredDynamicSharedInformerFactory(made(t, dynamic.NewForConfig, config), 0, ns, nil)
	metaOnly := metadatainformer.NewFilteredSharedInformerFactory(made(t, metadata.NewForConfig, config), 0, ns, nil)
	v.informers = []cache.SharedIndexInformer{typed.Core().V1().ConfigMaps().Informer(), dyn.ForResource(resource).Informer(), metaOnly.ForResource(resource).Informer()}
	for i, informer := range v.informers {
		tell := func() {
			select {
			case v.changed <- struct{}{}:
			default:
			}
		}
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { tell() }, UpdateFunc: func(any, any) { tell() }, DeleteFunc: func(any) { tell() },
		})
		if err != nil {
			t.Fatal(err)
		}
		go informer.Run(t.Context().Done())
		if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
			t.Fatalf("the %s informer is not in step", v.names[i])
		}
	}
	return v
}

// made gives a client of any kind.
func made[T any](t *testing.T, of func(*rest.Config) (T, error), config *rest.Config) T {
	t.Helper()
	client, err := of(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// await waits until all informers have an object, or none has it.
func (v *views) await(t *testing.T, name string, there bool) {
	t.Helper()
	late := time.After(patience)
	for {
		missing := ""
		for i, informer := range v.informers {
			if v.has(informer, name) != there {
				missing = v.names[i]
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-v.changed:
		case <-late:
			t.Fatalf("the %s informer: %s is there: %t", missing, name, !there)
		}
	}
}

func (v *views) has(informer cache.SharedIndexInformer, name string) bool {
	for _, o := range informer.GetStore().List() {
		if m, err := meta.Accessor(o); err == nil && m.GetName() == name {
			return true
		}
	}
	return false
}

// record is what was listed and not watched.
type record struct {
	mu   sync.Mutex
	urls []string
}

func (r *record) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.urls)
}

// recorder writes down each list.
type recorder struct {
	next http.RoundTripper
	to   *record
}

func (r recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if !req.URL.Query().Has("watch") {
		r.to.mu.Lock()
		r.to.urls = append(r.to.urls, req.URL.String())
		r.to.mu.Unlock()
	}
	return r.next.RoundTrip(req)
}

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/footprint"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Codec gives the form of objects in etcd.
type Codec interface {
	EncodeStorage(k *object.Kind, obj object.Object) ([]byte, error)
	DecodeStorage(k *object.Kind, data []byte) (object.Object, error)
	// StoredEarlier says whether a value that can be decoded is of another version than EncodeStorage gives.
	StoredEarlier(k *object.Kind, data []byte) bool
}

// Config is what a store is made of. The zero value of every field but Client is usable.
type Config struct {
	// Client of etcd. Required. The store does not close it.
	Client *clientv3.Client
	// Prefix of all keys: "/registry".
	Prefix string
	// Codec of stored values; nil: internal/object/codec.
	Codec Codec
	// Transformer of encoded values; nil: they are stored as they are.
	Transformer Transformer
	// EncodingBudget bounds the bytes of kept encodings: 64 MiB. Encodings that nobody used for a minute go earlier.
	EncodingBudget int64
	// ObjectBudget bounds the stored bytes of objects that are held decoded though nobody else holds them: 4 MiB. Those that nobody used for
	// five seconds to ten go earlier.
	ObjectBudget int64
	// WindowEvents and WindowAge bound the recent events of a kind from which a watch can resume, and
	// how far a watcher may fall behind: 16,384 events, and 3 minutes for all but the newest 128.
	WindowEvents int
	WindowAge    time.Duration
	// CompactionInterval is how often history older than itself is compacted: 5 minutes. Negative: never.
	CompactionInterval time.Duration
	// BookmarkInterval of watchers that ask for bookmarks: 1 minute.
	BookmarkInterval time.Duration
	// Metrics, when set, gets the store's metrics.
	Metrics prometheus.Registerer
}

// brief is how long objects, and answers to writers, are kept that nobody uses: a burst of writes shall leave nothing behind by the time
// that the process gives memory back.
const brief = 5 * time.Second

// answersBudget is enough for watchers to share the encoding that the writer got a moment earlier, in bytes.
const answersBudget = 4 << 20

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "/registry"
	}
	c.Prefix = "/" + strings.Trim(c.Prefix, "/") + "/"
	if c.Codec == nil {
		c.Codec = storageCodec{}
	}
	if c.EncodingBudget == 0 {
		c.EncodingBudget = 64 << 20
	}
	if c.ObjectBudget == 0 {
		c.ObjectBudget = 4 << 20
	}
	if c.WindowEvents <= 0 {
		c.WindowEvents = 16384
	}
	if c.WindowAge <= 0 {
		c.WindowAge = 3 * time.Minute
	}
	if c.CompactionInterval == 0 {
		c.CompactionInterval = 5 * time.Minute
	}
	if c.BookmarkInterval <= 0 {
		c.BookmarkInterval = time.Minute
	}
	return c
}

type storageCodec struct{}

func (storageCodec) EncodeStorage(k *object.Kind, obj object.Object) ([]byte, error) {
	return codec.EncodeStorage(k, obj)
}

func (storageCodec) StoredEarlier(k *object.Kind, data []byte) bool {
	return codec.StoredEarlier(k, data)
}

func (storageCodec) DecodeStorage(k *object.Kind, data []byte) (object.Object, error) {
	var obj object.Object
	err := lifecycle.Guard(func() (err error) { // Anybody may have written to etcd: what no decoder foresaw is an error too.
		obj, err = codec.DecodeStorage(k, data)
		return err
	})
	return obj, err
}

// Store is a set of collections over one etcd. Safe for concurrent use.
type Store struct {
	cfg     Config
	client  *clientv3.Client
	feed    *feed
	enc     *encodingCache
	answers *encodingCache // of encodings made to answer writers
	objects *clock[*decoded]
	leases  *leases
	metrics *metrics
	compact *compactor
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	colls map[string]*Collection // by storage prefix
	kinds sync.Map               // GroupResource → *kindMetrics
}

// New makes a store and starts its watch of etcd and its compactor. It does not wait for etcd: reads and
// writes do. Close it when it is no longer needed.
func New(cfg Config) *Store {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{
		cfg:     cfg,
		client:  cfg.Client,
		enc:     newEncodingCache(cfg.EncodingBudget),
		answers: newEncodingCache(min(cfg.EncodingBudget, answersBudget)),
		objects: newClock[*decoded](cfg.ObjectBudget),
		leases:  newLeases(cfg.Client),
		log:     slog.Default().With("component", "store"),
		ctx:     ctx,
		cancel:  cancel,
		colls:   map[string]*Collection{},
	}
	s.answers.brief, s.objects.brief = brief, brief
	s.feed = newFeed(s)
	s.metrics = s.newMetrics(cfg.Metrics)
	s.compact = newCompactor(s.client, cfg.CompactionInterval, s.metrics, s.log)
	s.background(s.feed.run)
	s.background(s.tidy)
	if cfg.CompactionInterval > 0 {
		s.background(s.compact.run)
	}
	return s
}

func (s *Store) background(f func(context.Context)) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f(s.ctx)
	}()
}

// Close ends all watches and background work and waits for it. Calls in flight fail.
func (s *Store) Close() {
	s.cancel()
	s.wg.Wait()
	s.answers.stop()
	s.objects.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.colls {
		c.stop(errStoreClosed())
	}
}

// Collection is the objects of one kind. Its cache is filled at the first call for the kind; reads wait for that.
// A row that replaces another with the same storage prefix (a changed custom resource definition) ends
// the old collection and its watchers.
func (s *Store) Collection(k *object.Kind) *Collection {
	if c := (*s.feed.colls.Load())[k.StoragePrefix]; c != nil && c.kind == k {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.colls[k.StoragePrefix]
	if old != nil && (old.kind == k || old.kind.Epoch > k.Epoch) {
		return old // a request that began with a row that has been replaced since goes on with the new one
	}
	c := newCollection(s, k)
	s.colls[k.StoragePrefix] = c
	s.feed.setCollections(s.colls)
	if old != nil {
		old.stop(errCollectionReplaced())
	}
	s.background(c.load)
	return c
}

// Forget drops the collection of a kind that is no longer served and ends its watchers. Objects in etcd stay.
func (s *Store) Forget(k *object.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.colls[k.StoragePrefix]
	if c == nil {
		return
	}
	delete(s.colls, k.StoragePrefix)
	s.feed.setCollections(s.colls)
	c.stop(errCollectionReplaced())
}

// Warm fills the caches of kinds in parallel and waits until they are usable.
func (s *Store) Warm(ctx context.Context, kinds ...*object.Kind) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, k := range kinds {
		if k.Virtual {
			continue
		}
		c := s.Collection(k)
		g.Go(func() error {
			if err := c.waitReady(ctx); err != nil {
				return fmt.Errorf("warm cache of %s: %w", k.GroupResource(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Objects counts what the caches hold, by resource.
func (s *Store) Objects() map[schema.GroupResource]int {
	out := map[schema.GroupResource]int{}
	for _, c := range *s.feed.colls.Load() {
		c.mu.RLock()
		if !c.loading {
			out[c.kind.GroupResource()] = c.tree.Len()
		}
		c.mu.RUnlock()
	}
	return out
}

// Count tells how many objects of a kind the cache holds; 0 when it is not filled.
func (s *Store) Count(k *object.Kind) int {
	c := (*s.feed.colls.Load())[k.StoragePrefix]
	if c == nil {
		return 0
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.loading {
		return 0
	}
	return c.tree.Len()
}

// Revision is the newest revision that the caches have reached.
func (s *Store) Revision() int64 { return s.feed.rev.Load() }

// CurrentRevision asks etcd for its newest revision and waits until the caches have reached it. Callers at the same
// time share one question.
func (s *Store) CurrentRevision(ctx context.Context) (int64, error) { return s.feed.fresh(ctx) }

// Healthy asks etcd for a linearizable read.
func (s *Store) Healthy(ctx context.Context) error {
	if _, err := s.client.Get(ctx, s.cfg.Prefix+"health"); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// Writable asks etcd whether it takes writes, by one that never happens: no key was created before revision 0. A datastore whose
// disk or quota is used up refuses it, and still reads.
func (s *Store) Writable(ctx context.Context) error {
	key := s.cfg.Prefix + "health"
	never := clientv3.Compare(clientv3.CreateRevision(key), "<", 0)
	if _, err := s.client.Txn(ctx).If(never).Then(clientv3.OpPut(key, "")).Commit(); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// tidy once a minute drops encodings that nobody used and events that are too old to resume from.
func (s *Store) tidy(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			footprint.Spare(s.enc.sweep())
			s.mu.Lock()
			colls := make([]*Collection, 0, len(s.colls))
			for _, c := range s.colls {
				colls = append(colls, c)
			}
			s.mu.Unlock()
			for _, c := range colls {
				c.trim(now)
			}
		}
	}
}

func isDone(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

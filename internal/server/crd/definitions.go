package crd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/apply"
	"hyperkube/internal/server/webhook"
	"hyperkube/internal/store"
)

var resource = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}

// Config is what the definitions act on.
type Config struct {
	Table    *object.Table
	Store    *store.Store
	Managers *apply.Managers
	// Client reads and writes the definitions, and deletes the objects of those that go.
	Client client.Interface
	// Webhooks calls conversion webhooks; nil: objects of definitions that have one cannot be converted.
	Webhooks *webhook.Caller
}

// Definitions keep the rows of custom resources.
type Definitions struct {
	cfg     Config
	inf     *client.Informer[*apiextensionsv1.CustomResourceDefinition]
	infs    *client.Informers
	queue   *client.Queue[string]
	log     *slog.Logger
	epoch   int64
	synced  atomic.Bool
	metrics *metrics

	mu   sync.Mutex
	rows map[string]*served // by the name of the definition
	// structured are the generations whose schemas were judged. Of the worker alone.
	structured map[string]int64
	emptying   map[string]context.CancelFunc
}

// served is a row and what it was made of. The specification is shared with the server's cache.
type served struct {
	row     *object.Kind
	schemas []*versionSchema // in the order of the versions
	spec    apiextensionsv1.CustomResourceDefinitionSpec
	names   apiextensionsv1.CustomResourceDefinitionNames
	going   bool
}

// New makes the keeper. Nothing happens before Run.
func New(cfg Config) *Definitions {
	d := &Definitions{
		cfg: cfg, infs: client.NewInformers(cfg.Client), queue: client.NewQueue[string]("crd"),
		log: slog.Default().With("component", "crd"), rows: map[string]*served{}, structured: map[string]int64{}, emptying: map[string]context.CancelFunc{},
		metrics: newMetrics(),
	}
	d.inf = client.InformerFor(d.infs, resource)
	return d
}

// Run keeps the rows until ctx ends.
func (d *Definitions) Run(ctx context.Context) error {
	d.infs.Start(ctx)
	if err := d.inf.WaitForSync(ctx); err != nil {
		return nil
	}
	// Everything that was served before is served again before the server says that it is ready.
	for _, c := range d.inf.List() {
		if isTrue(c, apiextensionsv1.Established) {
			if err := d.serve(ctx, c); err != nil {
				d.log.Error("custom resource cannot be served", "definition", c.Name, "err", err)
			}
		}
	}
	d.synced.Store(true)
	d.inf.OnChange(func(old, new *apiextensionsv1.CustomResourceDefinition) {
		if new == nil {
			new = old
		}
		d.queue.Add(new.Name)
		d.wakeRivals(new.Spec.Group, new.Name)
	})
	// One worker: which of two definitions gets a name is decided one after the other.
	client.RunWorkers(ctx, d.queue, 1, d.reconcile)
	return nil
}

// Synced is nil when all definitions that were there at the start are served.
func (d *Definitions) Synced(context.Context) error {
	if !d.synced.Load() {
		return errors.New("custom resource definitions are not served yet")
	}
	return nil
}

func (d *Definitions) reconcile(ctx context.Context, name string) error {
	// Of a write of our own the cache may not know yet: the server itself does.
	c, err := resource.Get(ctx, d.cfg.Client, "", name)
	switch {
	case apierrors.IsNotFound(err):
		delete(d.structured, name)
		d.drop(name)
		return nil
	case err != nil:
		return err
	case terminating(c):
		return d.terminate(ctx, c)
	}
	// The specification is shared: nobody changes it.
	next := &apiextensionsv1.CustomResourceDefinition{TypeMeta: c.TypeMeta, ObjectMeta: c.ObjectMeta, Spec: c.Spec, Status: *c.Status.DeepCopy()}
	d.judge(next)
	if len(next.Status.AcceptedNames.Plural) > 0 && isTrue(next, apiextensionsv1.Established) {
		// The row first: whoever sees the condition may use it at once.
		if err := d.serve(ctx, next); err != nil {
			return err
		}
	}
	if apiequality.Semantic.DeepEqual(c.Status, next.Status) {
		return nil
	}
	_, err = resource.UpdateStatus(ctx, d.cfg.Client, next)
	if apierrors.IsConflict(err) {
		d.queue.Add(name)
		return nil
	}
	return err
}

// judge decides about the names and whether the definition is established, and tells what else there is to know of it.
func (d *Definitions) judge(c *apiextensionsv1.CustomResourceDefinition) {
	approve(c)
	if d.structured[c.Name] != c.Generation {
		judgeStructure(c)
		d.structured[c.Name] = c.Generation
	}
	names, cond := accept(c, d.others(c))
	c.Status.AcceptedNames = names
	set(c, cond)
	switch {
	case isTrue(c, apiextensionsv1.Established):
	case object.CRDBundleError(c) != nil:
		set(c, condition(apiextensionsv1.Established, apiextensionsv1.ConditionFalse, "InvalidCABundle", "The conversion webhook CABundle is invalid"))
	case cond.Status == apiextensionsv1.ConditionTrue:
		set(c, condition(apiextensionsv1.Established, apiextensionsv1.ConditionTrue, "InitialNamesAccepted", "the initial names have been accepted"))
	default:
		set(c, condition(apiextensionsv1.Established, apiextensionsv1.ConditionFalse, "NotAccepted", "not all names are accepted"))
	}
}

// others are the names in use in the group of a definition.
func (d *Definitions) others(c *apiextensionsv1.CustomResourceDefinition) taken {
	t := taken{map[string]bool{}, map[string]bool{}}
	for _, k := range d.cfg.Table.All() {
		if hub := k.Hub(); hub.Group == c.Spec.Group && hub.Custom == nil {
			t.add(apiextensionsv1.CustomResourceDefinitionNames{Plural: k.Resource, Singular: k.Singular, ShortNames: k.ShortNames, Kind: hub.Kind, ListKind: hub.ListKind()})
		}
	}
	for _, other := range d.inf.List() {
		if other.Spec.Group == c.Spec.Group && other.Name != c.Name {
			t.add(other.Status.AcceptedNames)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, s := range d.rows {
		if name != c.Name && s.row.Hub().Group == c.Spec.Group {
			t.add(s.names)
		}
	}
	return t
}

// wakeRivals looks again at the definitions of a group that lack a name: those that come free or are taken concern them.
func (d *Definitions) wakeRivals(group, name string) {
	for _, c := range d.inf.List() {
		if c.Spec.Group == group && c.Name != name && !isTrue(c, apiextensionsv1.NamesAccepted) {
			d.queue.Add(c.Name)
		}
	}
}

// serve puts the row of a definition into the table, in place of the one before.
func (d *Definitions) serve(ctx context.Context, c *apiextensionsv1.CustomResourceDefinition) error {
	d.mu.Lock()
	have := d.rows[c.Name]
	d.mu.Unlock()
	if have != nil && have.going == terminating(c) && apiequality.Semantic.DeepEqual(have.spec, c.Spec) && apiequality.Semantic.DeepEqual(have.names, c.Status.AcceptedNames) {
		d.mu.Lock()
		defer d.mu.Unlock()
		have.follow(c)
		return nil
	}
	d.epoch++
	convert, asked := d.converter(c)
	k, schemas, err := row(c, convert, asked, d.epoch)
	if err != nil {
		return fmt.Errorf("definition %s: %w", c.Name, err)
	}
	if have == nil {
		// Filled before anybody can ask, so that a watch from the first object's version on finds it.
		if err := d.cfg.Store.Warm(ctx, k); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.rows[c.Name] = &served{row: k, schemas: schemas, spec: c.Spec, names: c.Status.AcceptedNames, going: terminating(c)}
	d.mu.Unlock()
	d.cfg.Table.Add(k)
	if have == nil {
		return nil
	}
	d.cfg.Table.Remove(have.row) // the names that the new row does not have
	d.cfg.Managers.Forget(have.row)
	return d.cfg.Store.Warm(ctx, k) // ends the watches of the old row
}

// follow holds on to a newer state of a definition that says the same, so that older ones can be forgotten.
func (s *served) follow(c *apiextensionsv1.CustomResourceDefinition) {
	s.spec, s.names = c.Spec, c.Status.AcceptedNames
	for i, schema := range s.schemas {
		schema.follow(&c.Spec.Versions[i])
	}
}

// drop takes the row of a definition that is gone out of the table.
func (d *Definitions) drop(name string) {
	d.mu.Lock()
	have, stop := d.rows[name], d.emptying[name]
	delete(d.rows, name)
	delete(d.emptying, name)
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	if have == nil {
		return
	}
	d.metrics.forget(name)
	d.cfg.Table.Remove(have.row)
	d.cfg.Store.Forget(have.row)
	d.cfg.Managers.Forget(have.row)
	// Whoever was judged between the deletion and now found the names still in use.
	d.wakeRivals(have.spec.Group, name)
}

// Package apply is server-side apply (KEP-555): patches that say what one manager wants of an object, merged with what other
// managers own, which metadata.managedFields records.
//
// The fields of an object are tracked from its creation on and at every write, under the manager that the request names, or else its user
// agent. Since everything that is ever written passes here, the two common writes are done without the general machinery: a walk over the two
// Go objects, by a plan that is made once for their type, writes what changed as FieldsV1 at once, and what that makes of the fields that each manager
// owned is remembered, for objects of one shape go through the same steps. Objects without a Go type, managers of another version, and what the
// walk cannot tell go the general way, of which the common one is an exact copy; a test compares the two.
//
// Where an object has no managers, since it was stored before they were tracked or somebody cleared them, nothing is
// recorded until the first apply, at which "before-first-apply" owns everything.
//
// The schema of the built-in kinds is parsed at the first use of the general way (about 50 ms); kinds without a schema are merged by what their
// objects look like. Safe for concurrent use.
package apply

import (
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"hyperkube/internal/object"
	"hyperkube/internal/server/openapi"
)

// Managers makes and keeps the field managers of kinds.
type Managers struct {
	builtin func() managedfields.TypeConverter

	plans  sync.Map // reflect.Type → *plan
	memory memory

	mu   sync.Mutex
	made map[key]*managedfields.FieldManager
}

// key is one version of one row; a row that changed is another row.
type key struct {
	kind *object.Kind
	gv   schema.GroupVersion
	sub  string
}

// New makes managers for kinds.
func New() *Managers {
	return &Managers{
		builtin: sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(object.Scheme()) }),
		made:    map[key]*managedfields.FieldManager{},
	}
}

// Forget drops the managers of a row that is no longer served.
func (m *Managers) Forget(k *object.Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for have := range m.made {
		if have.kind == k {
			delete(m.made, have)
		}
	}
}

// Apply merges a patch, which names its apiVersion and kind, into live. live is of the hub version, or nil for an object that is
// yet to be made, and is not changed. The result is of the hub version. Conflicts with other managers are a 409 that
// names each field, unless force takes the fields over.
func (m *Managers) Apply(k *object.Kind, v *object.Version, sub string, live object.Object, patch *unstructured.Unstructured, manager string, force bool) (object.Object, error) {
	fm, err := m.manager(k, v, sub)
	if err != nil {
		return nil, err
	}
	base := blank(v)
	if live != nil {
		base = live.DeepCopyObject()
		base.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	}
	out, err := fm.Apply(base, patch, manager, force)
	if err != nil {
		return nil, err
	}
	return toHub(k, out)
}

func (m *Managers) manager(k *object.Kind, v *object.Version, sub string) (*managedfields.FieldManager, error) {
	id := key{k, v.GroupVersion, sub}
	m.mu.Lock()
	defer m.mu.Unlock()
	if fm := m.made[id]; fm != nil {
		return fm, nil
	}
	fm, err := m.make(k, v, sub)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("field manager of %s: %w", k.GroupResource(), err))
	}
	m.made[id] = fm
	return fm, nil
}

func (m *Managers) make(k *object.Kind, v *object.Version, sub string) (*managedfields.FieldManager, error) {
	gvk := v.GroupVersion.WithKind(v.Kind)
	c := converter{k}
	reset := map[fieldpath.APIVersion]fieldpath.Filter{}
	for i := range k.Versions {
		if f := resetFilter(k, sub); f != nil {
			reset[fieldpath.APIVersion(k.Versions[i].GroupVersion.String())] = f
		}
	}
	if _, custom := v.New().(*unstructured.Unstructured); custom {
		types := managedfields.NewDeducedTypeConverter()
		if v.Custom != nil {
			var err error
			if types, err = v.Custom.TypeConverter(); err != nil {
				return nil, err
			}
		}
		return managedfields.NewDefaultCRDFieldManager(types, c, c, c, gvk, k.Hub().GroupVersion, sub, reset)
	}
	types, err := m.types(v)
	if err != nil {
		return nil, err
	}
	return managedfields.NewDefaultFieldManager(types, c, c, c, gvk, k.Hub().GroupVersion, sub, reset)
}

// types knows the schema of a version that has a Go type. The kinds of the API machinery itself are not among the built-in ones there.
func (m *Managers) types(v *object.Version) (managedfields.TypeConverter, error) {
	if types := m.builtin(); known(types, v) {
		return types, nil
	}
	models, err := openapi.Models(openapi.ModelOf(v.New()))
	if err != nil {
		return nil, err
	}
	return managedfields.NewTypeConverter(models, false)
}

func known(types managedfields.TypeConverter, v *object.Version) bool {
	_, err := types.ObjectToTyped(blank(v))
	return err == nil
}

func blank(v *object.Version) runtime.Object {
	obj := v.New()
	obj.GetObjectKind().SetGroupVersionKind(v.GroupVersion.WithKind(v.Kind))
	return obj
}

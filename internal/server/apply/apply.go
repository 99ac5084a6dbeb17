// Package apply is server-side apply (KEP-555): patches that say what one manager wants of an object, merged with what other
// managers own, which metadata.managedFields records.
//
// The fields of an object are tracked from its creation on when whoever creates it names itself as their manager, as
// kubectl, Helm and others that apply do, and else from the first apply on: tracking costs several times what a write costs otherwise, and objects that
// programs make for themselves by the thousand are never applied to. At the first apply everything that is there already belongs to one manager,
// "before-first-apply", but for what kubectl's annotation says that client-side apply wrote, which is "kubectl-client-side-apply"'s. Once an object
// is tracked, every write of it is, under the manager that the request names, or else its user agent.
//
// The schema of the built-in kinds is parsed at the first apply (about 50 ms); kinds without a schema are merged by what their
// objects look like. Safe for concurrent use.
package apply

import (
	"fmt"
	"maps"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Managers makes and keeps the field managers of kinds.
type Managers struct {
	builtin func() managedfields.TypeConverter

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

// firstManager owns what an object has at its first apply, when kubectl's client-side apply made it.
const firstManager = "kubectl-client-side-apply"

// Apply merges a patch, which names its apiVersion and kind, into live. live is of the hub version, or nil for an object that is
// yet to be made, and is not changed. The result is of the hub version. Conflicts with other managers are a 409 that
// names each field, unless force takes the fields over.
func (m *Managers) Apply(k *object.Kind, v *object.Version, sub string, live object.Object, patch *unstructured.Unstructured, manager string, force bool) (object.Object, error) {
	fm, err := m.manager(k, v, sub)
	if err != nil {
		return nil, err
	}
	base, err := m.base(fm, k, v, live)
	if err != nil {
		return nil, err
	}
	out, err := fm.Apply(base, patch, manager, force)
	if err != nil {
		return nil, err
	}
	return toHub(k, out)
}

// base is the state that a patch is merged into.
func (m *Managers) base(fm *managedfields.FieldManager, k *object.Kind, v *object.Version, live object.Object) (runtime.Object, error) {
	if live == nil {
		return empty(k.Hub()), nil
	}
	base := live.DeepCopyObject().(object.Object)
	base.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	if len(live.GetManagedFields()) > 0 || live.GetAnnotations()[lastApplied] == "" {
		return base, nil
	}
	before, err := clientSide(k, v, live)
	if err != nil {
		return base, nil // an annotation that cannot be read says nothing
	}
	// What kubectl applied is its own; what others added since, a size above all, is not.
	before = fm.UpdateNoErrors(empty(k.Hub()), noted(before, v), firstManager)
	managed, ok := before.(object.Object)
	if !ok {
		return base, nil
	}
	base.SetManagedFields(managed.GetManagedFields())
	return fm.UpdateNoErrors(before, base, "before-first-apply"), nil
}

// clientSide is the object that kubectl's client-side apply wrote last, as its annotation tells, with the annotation.
func clientSide(k *object.Kind, v *object.Version, live object.Object) (runtime.Object, error) {
	u, err := codec.DecodeUnstructured([]byte(live.GetAnnotations()[lastApplied]), codec.JSON, nil, false)
	if err != nil {
		return nil, err
	}
	obj, err := toHub(k, u)
	if err != nil {
		return nil, err
	}
	annotations := maps.Clone(obj.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[lastApplied] = live.GetAnnotations()[lastApplied]
	obj.SetAnnotations(annotations)
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	return obj, nil
}

// noted gives an object managers, without which nothing is tracked: an entry of somebody else's would do, and is dropped at once.
func noted(obj runtime.Object, v *object.Version) runtime.Object {
	if o, ok := obj.(object.Object); ok {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: firstManager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: v.GroupVersion.String(),
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{"f:` + lastApplied + `":{}}}}`)},
		}})
	}
	return obj
}

// lastApplied is the annotation in which kubectl keeps what it applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// TrackNew records that a manager creates an object, which is of the hub version and defaulted; it may be changed, and the result
// is obj or takes its place. Without a name, and where an apply has recorded its manager already, nothing is recorded.
func (m *Managers) TrackNew(k *object.Kind, v *object.Version, obj object.Object, manager string) (object.Object, error) {
	if manager == "" || len(obj.GetManagedFields()) > 0 {
		return obj, nil
	}
	fm, err := m.manager(k, v, "")
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	return toHub(k, fm.UpdateNoErrors(empty(k.Hub()), obj, manager))
}

// Track records a write other than an apply. obj and old are of the hub version; obj may be changed and the result
// is obj or takes its place. old is nil for a new object.
func (m *Managers) Track(k *object.Kind, v *object.Version, sub string, obj, old object.Object, manager string) (object.Object, error) {
	if old == nil || len(old.GetManagedFields()) == 0 {
		obj.SetManagedFields(nil)
		return obj, nil
	}
	fm, err := m.manager(k, v, sub)
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	return toHub(k, fm.UpdateNoErrors(old, obj, manager))
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
		if f := resetFields(k, sub); f != nil {
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
	types := m.builtin()
	if _, err := types.ObjectToTyped(empty(v)); err != nil {
		types = managedfields.NewDeducedTypeConverter()
	}
	return managedfields.NewDefaultFieldManager(types, c, c, c, gvk, k.Hub().GroupVersion, sub, reset)
}

// resetFields are those that an endpoint writes back, so that nobody comes to own them through it.
func resetFields(k *object.Kind, sub string) fieldpath.Filter {
	switch {
	case sub == "status":
		return fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("spec")))
	case sub == "" && k.Subresource("status") != nil:
		return fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
	}
	return nil
}

func empty(v *object.Version) runtime.Object {
	obj := v.New()
	obj.GetObjectKind().SetGroupVersionKind(v.GroupVersion.WithKind(v.Kind))
	return obj
}

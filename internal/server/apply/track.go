package apply

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"hyperkube/internal/object"
)

// mostUpdaters is how many managers that update an object has before the oldest are merged into one.
const mostUpdaters = 10

// TrackNew records that a manager creates an object, which is of the hub version and defaulted; it may be changed, and the result
// is obj or takes its place.
func (m *Managers) TrackNew(k *object.Kind, v *object.Version, obj object.Object, manager string) (object.Object, error) {
	if len(obj.GetManagedFields()) == 0 {
		p, _, after, err := m.look(v, nil, obj)
		if err != nil {
			return nil, err
		}
		if p != nil {
			if fields, _, ok := p.compare(p.zero, after, resets(k, "")); ok {
				obj.SetManagedFields(nil)
				if fields != "" {
					obj.SetManagedFields([]metav1.ManagedFieldsEntry{m.entry(v, "", manager, m.memory.share(fields))})
				}
				return obj, nil
			}
		}
	}
	fm, err := m.manager(k, v, "")
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	return toHub(k, fm.UpdateNoErrors(blank(v), obj, manager))
}

// Track records a write other than an apply. obj and old are of the hub version; obj may be changed and the result
// is obj or takes its place. An object that nobody manages stays so, unless obj names managers.
func (m *Managers) Track(k *object.Kind, v *object.Version, sub string, obj, old object.Object, manager string) (object.Object, error) {
	had := old.GetManagedFields()
	if sub != "" || keeps(obj.GetManagedFields(), had) {
		if len(had) == 0 {
			obj.SetManagedFields(nil)
			return obj, nil
		}
		entries, ok, err := m.follow(k, v, sub, obj, old, manager)
		if err != nil {
			return nil, err
		}
		if ok {
			obj.SetManagedFields(entries)
			return obj, nil
		}
	}
	fm, err := m.manager(k, v, sub)
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	return toHub(k, fm.UpdateNoErrors(old, obj, manager))
}

// Settle takes back the new times of managers when a write turned out to change nothing else: such a write is none.
func (m *Managers) Settle(obj, old object.Object) {
	now, had := obj.GetManagedFields(), old.GetManagedFields()
	if len(now) == 0 || len(now) != len(had) || !alikeButTimes(now, had) {
		return
	}
	obj.SetManagedFields(had)
	if !equalObjects(m.planOf(reflect.TypeOf(obj).Elem()), obj, old) {
		obj.SetManagedFields(now)
	}
}

func alikeButTimes(now, had []metav1.ManagedFieldsEntry) bool {
	later := false
	for i := range now {
		later = later || !now[i].Time.Equal(had[i].Time)
		timeless := now[i]
		timeless.Time = had[i].Time
		if !keeps([]metav1.ManagedFieldsEntry{timeless}, had[i:i+1]) {
			return false
		}
	}
	return later
}

func equalObjects(p *plan, obj, old object.Object) bool {
	if p != nil && obj.GetGeneration() == old.GetGeneration() {
		if changed, removed, ok := p.compare(reflect.ValueOf(old).Elem(), reflect.ValueOf(obj).Elem(), nil); ok {
			return changed == "" && removed == ""
		}
	}
	return equality.Semantic.DeepEqual(obj, old)
}

// keeps says whether a request leaves the managers of an object alone: it names none, or those that there are.
func keeps(now, had []metav1.ManagedFieldsEntry) bool {
	if now == nil {
		return true
	}
	return len(now) > 0 && slices.EqualFunc(now, had, func(a, b metav1.ManagedFieldsEntry) bool {
		return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.Subresource == b.Subresource &&
			a.FieldsType == b.FieldsType && a.Time.Equal(b.Time) && bytes.Equal(raw(&a), raw(&b))
	})
}

func raw(e *metav1.ManagedFieldsEntry) []byte {
	if e.FieldsV1 == nil {
		return nil
	}
	return e.FieldsV1.Raw
}

// look gives the plan of a version's objects and the two objects in that version; no plan for objects without a Go type.
func (m *Managers) look(v *object.Version, old, obj object.Object) (p *plan, before, after reflect.Value, err error) {
	in := func(o object.Object) (reflect.Value, error) {
		if o == nil {
			return reflect.Value{}, nil
		}
		if v.FromHub != nil {
			if o, err = v.FromHub(o); err != nil {
				return reflect.Value{}, err
			}
		}
		return reflect.ValueOf(o).Elem(), nil
	}
	if _, custom := obj.(runtime.Unstructured); custom {
		return nil, before, after, nil
	}
	if before, err = in(old); err != nil {
		return nil, before, after, err
	}
	if after, err = in(obj); err != nil {
		return nil, before, after, err
	}
	return m.planOf(after.Type()), before, after, nil
}

// planOf gives the plan of a Go type; nil when it has none.
func (m *Managers) planOf(t reflect.Type) *plan {
	if p, ok := m.plans.Load(t); ok {
		return p.(*plan)
	}
	p, err := newPlan(t)
	if err != nil || t == reflect.TypeFor[unstructured.Unstructured]() {
		p = nil
	}
	m.plans.Store(t, p)
	return p
}

// follow works out who manages what after a write, from who did before; not ok when only the general way can tell.
func (m *Managers) follow(k *object.Kind, v *object.Version, sub string, obj, old object.Object, manager string) ([]metav1.ManagedFieldsEntry, bool, error) {
	p, before, after, err := m.look(v, old, obj)
	if err != nil || p == nil {
		return nil, false, err
	}
	had := old.GetManagedFields()
	version := v.GroupVersion.String()
	for i := range had {
		if e := &had[i]; e.APIVersion != version || e.FieldsType != "FieldsV1" || len(raw(e)) == 0 {
			return nil, false, nil
		}
	}
	changed, removed, ok := p.compare(before, after, resets(k, sub))
	if !ok {
		return nil, false, nil
	}
	if changed == "" && removed == "" {
		return had, true, nil
	}
	mine := m.entry(v, sub, manager, nil)
	out := make([]metav1.ManagedFieldsEntry, 0, len(had)+1)
	found, updaters := false, 0
	for i := range had {
		e := had[i]
		own := e.Manager == mine.Manager && e.Operation == mine.Operation && e.Subresource == mine.Subresource
		fields, err := m.memory.step(step{string(raw(&e)), changed, removed, own})
		if err != nil {
			return nil, false, nil
		}
		found = found || own
		if own && changed != "" {
			e.Time = mine.Time
		}
		if len(fields) == 0 {
			continue
		}
		e.FieldsV1 = &metav1.FieldsV1{Raw: fields}
		out = append(out, e)
	}
	if !found && changed != "" {
		mine.FieldsV1 = &metav1.FieldsV1{Raw: m.memory.share(changed)}
		out = append(out, mine)
	}
	for i := range out {
		if out[i].Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		}
	}
	slices.SortStableFunc(out, orderEntries)
	return out, updaters <= mostUpdaters, nil
}

func (m *Managers) entry(v *object.Version, sub, manager string, fields []byte) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: v.GroupVersion.String(), Subresource: sub,
		Time: &metav1.Time{Time: time.Now().UTC().Truncate(time.Second)}, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: fields},
	}
}

// orderEntries is the order in which managers are shown.
func orderEntries(a, b metav1.ManagedFieldsEntry) int {
	seconds := func(t *metav1.Time) int64 {
		if t == nil {
			return 0
		}
		return t.Unix()
	}
	return cmp.Or(strings.Compare(string(a.Operation), string(b.Operation)), cmp.Compare(seconds(a.Time), seconds(b.Time)),
		strings.Compare(a.Manager, b.Manager), strings.Compare(a.APIVersion, b.APIVersion), strings.Compare(a.Subresource, b.Subresource))
}

package encode

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

// TableOptions say how a table is made.
type TableOptions struct {
	Include metav1.IncludeObjectPolicy
	// NoHeaders leaves the column definitions out, as all but the first event of a watch do.
	NoHeaders bool
	Now       time.Time
	// Version of meta.k8s.io that the metadata in rows is of; empty: v1.
	Version string
	// Converted are the objects in the version of the table, in order; nil: each is converted where it is needed.
	Converted []object.Object
}

// in gives a row's object in the version of the table.
func (o *TableOptions) in(v *object.Version, row int, hub object.Object) (object.Object, error) {
	switch {
	case o.Converted != nil:
		return o.Converted[row], nil
	case v.FromHub != nil:
		return v.FromHub(hub)
	}
	return hub, nil
}

// CheckInclude judges the includeObject of a query; empty means Metadata.
func CheckInclude(s string) (metav1.IncludeObjectPolicy, error) {
	switch p := metav1.IncludeObjectPolicy(s); p {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return p, nil
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("Unable to convert to Table as requested: includeObject: Invalid value: %q: must be 'Metadata', 'Object', 'None', or empty", s))
}

// Table of objects of a kind. The forms of a table are JSON and YAML.
func Table(k *object.Kind, v *object.Version, objs []object.Object, meta metav1.ListMeta, o TableOptions) (*metav1.Table, error) {
	t := &metav1.Table{ListMeta: meta, Rows: make([]metav1.TableRow, 0, len(objs)), ColumnDefinitions: []metav1.TableColumnDefinition{}}
	if !o.NoHeaders {
		t.ColumnDefinitions = columns(k, v)
	}
	for i, obj := range objs {
		in := obj
		if v.Custom != nil || o.Include == metav1.IncludeObject {
			var err error
			if in, err = o.in(v, i, obj); err != nil {
				return nil, err
			}
		}
		row := metav1.TableRow{Cells: cells(k, v, obj, in, o.Now)}
		if k.RowConditions != nil {
			row.Conditions = k.RowConditions(obj)
		}
		switch o.Include {
		case metav1.IncludeMetadata:
			row.Object.Object = Partial(obj, cmp.Or(o.Version, "v1"))
		case metav1.IncludeObject:
			row.Object.Object = in
			if v.FromHub == nil {
				row.Object.Object = codec.WithKind(in, v.GroupVersion.WithKind(v.Kind))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// defaultColumns are those of kinds that say none.
var defaultColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
	{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
}

func columns(k *object.Kind, v *object.Version) []metav1.TableColumnDefinition {
	if v.Custom != nil {
		return v.Custom.Columns
	}
	if k.Cells == nil {
		return defaultColumns
	}
	return k.Columns
}

// cells of a row; in is the object in the version of a custom resource, whose columns are those of the version.
func cells(k *object.Kind, v *object.Version, obj, in object.Object, now time.Time) []any {
	switch {
	case v.Custom != nil:
		return v.Custom.Cells(in, now)
	case k.Cells != nil:
		return k.Cells(obj, now)
	}
	created := obj.GetCreationTimestamp()
	return []any{obj.GetName(), created.UTC().Format(time.RFC3339)}
}

// Partial is the metadata of an object alone.
func Partial(obj object.Object, version string) *metav1.PartialObjectMetadata {
	p := &metav1.PartialObjectMetadata{ObjectMeta: *objectMeta(obj)}
	p.SetGroupVersionKind(schema.GroupVersionKind{Group: metav1.GroupName, Version: version, Kind: "PartialObjectMetadata"})
	return p
}

// objectMeta is shared for typed objects.
func objectMeta(obj object.Object) *metav1.ObjectMeta {
	if a, ok := obj.(metav1.ObjectMetaAccessor); ok {
		if m, ok := a.GetObjectMeta().(*metav1.ObjectMeta); ok {
			return m
		}
	}
	return &metav1.ObjectMeta{
		Name: obj.GetName(), GenerateName: obj.GetGenerateName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), Generation: obj.GetGeneration(), CreationTimestamp: obj.GetCreationTimestamp(),
		DeletionTimestamp: obj.GetDeletionTimestamp(), DeletionGracePeriodSeconds: obj.GetDeletionGracePeriodSeconds(),
		Labels: obj.GetLabels(), Annotations: obj.GetAnnotations(), OwnerReferences: obj.GetOwnerReferences(),
		Finalizers: obj.GetFinalizers(), ManagedFields: obj.GetManagedFields(),
	}
}

// Transformed writes one object as the form asks: a table or its metadata.
func Transformed(f negotiate.Form, k *object.Kind, v *object.Version, obj object.Object, o TableOptions) ([]byte, error) {
	if f.As == "PartialObjectMetadata" {
		return Any(f, Partial(obj, f.Version), f.Target())
	}
	o.Version = f.Version
	t, err := Table(k, v, []object.Object{obj}, metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()}, o)
	if err != nil {
		return nil, err
	}
	return Any(f, t, f.Target())
}

// TransformedList writes a page as the form asks: a table or a list of metadata.
func TransformedList(f negotiate.Form, k *object.Kind, v *object.Version, p *store.Page, o TableOptions) ([]byte, error) {
	if f.As == "PartialObjectMetadataList" {
		l := &metav1.PartialObjectMetadataList{ListMeta: ListMeta(p), Items: make([]metav1.PartialObjectMetadata, 0, len(p.Entries))}
		for _, e := range p.Entries {
			l.Items = append(l.Items, *Partial(e.Object(), f.Version))
		}
		return Any(f, l, f.Target())
	}
	entries := p.Entries
	if k.RowOrder != nil {
		entries = slices.Clone(entries) // the page is shared
		slices.SortStableFunc(entries, func(a, b *store.Entry) int { return k.RowOrder(a.Object(), b.Object()) })
	}
	objs := make([]object.Object, len(entries))
	for i, e := range entries {
		objs[i] = e.Object()
	}
	if v.FromHubAll != nil {
		var err error
		if o.Converted, err = store.InAll(v, entries); err != nil {
			return nil, err
		}
	}
	o.Version = f.Version
	t, err := Table(k, v, objs, ListMeta(p), o)
	if err != nil {
		return nil, err
	}
	return Any(f, t, f.Target())
}

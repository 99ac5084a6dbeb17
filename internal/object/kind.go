// Package object is the one object model that every role shares: the Go types of
// k8s.io/api, and for each kind one row that says all the API server has to know of it.
//
// A row ([Kind]) names the kind and says how it is stored, defaulted, prepared,
// validated, selected and printed. Everything else (discovery, routing, OpenAPI,
// tables, RBAC, garbage collection, namespace deletion) is derived from the rows, so
// a new kind is one new file with one function that returns its row.
//
// The package is pure: no random numbers, no I/O, and no clock but for the few times that the
// API leaves to the server (conditions of certificate requests, device taints). Objects that come out of a
// cache are shared by every reader in the process and must not be changed; whoever
// wants to change one calls DeepCopyObject first.
package object

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Object is what every kind of the API is: metadata and a Go type with a deep copy.
type Object interface {
	metav1.Object
	runtime.Object
}

// Scope says whether objects of a kind live in a namespace.
type Scope bool

// The two scopes of the API.
const (
	Cluster    Scope = false
	Namespaced Scope = true
)

// Key names one object of a kind. Namespace is empty for cluster-scoped kinds.
type Key struct{ Namespace, Name string }

// String gives namespace/name, or name alone.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// KeyOf is the key of an object.
func KeyOf(o metav1.Object) Key { return Key{o.GetNamespace(), o.GetName()} }

// Version is one served version of a kind.
type Version struct {
	schema.GroupVersion
	Kind string
	// New and NewList make empty values of the version's Go types.
	New     func() runtime.Object
	NewList func() runtime.Object
	// FromHub and ToHub convert between this version and the hub (Kind.Versions[0]); nil for the hub.
	// They return new objects and leave the argument alone.
	FromHub func(hub Object) (Object, error)
	ToHub   func(obj Object) (Object, error)
	// FromHubAll converts many objects at once, in order; all or none. It is there only where somebody else has to be asked, so
	// that what comes out is worth keeping.
	FromHubAll func(hubs []Object) ([]Object, error)
	// FieldNames take the place of the row's; nil: they are the row's.
	FieldNames []string
	// Strategy of writes in this version takes the place of the row's; nil: it is the row's. Its objects are of the hub version too.
	Strategy *Strategy
	// Custom is what a version of a custom resource has of its own; nil for kinds with a Go type.
	Custom *Custom
}

// Custom is what the row cannot say for all versions of a custom resource at once.
type Custom struct {
	// Hidden versions are stored and converted, but not served.
	Hidden bool
	// ListKind names the kind of lists.
	ListKind string
	// Warning, when not empty, tells users of the version that it is deprecated.
	Warning string
	// Without names the subresources of the row that this version does not serve.
	Without []string
	// Columns, Cells and FieldNames take the place of the row's.
	Columns    []metav1.TableColumnDefinition
	Cells      func(obj Object, now time.Time) []any
	FieldNames []string
	// Fields are the values of FieldNames in an object of this version; nil when there are none.
	Fields func(obj Object) fields.Set
	// Default fills in what is missing in an object that a client sent in this version.
	Default func(obj Object)
	// Prune removes from a decoded object the fields that its schema does not have and names them ("spec.foo"), sorted. The
	// error is of metadata that is none.
	Prune func(obj Object) ([]string, error)
	// Validate judges an object in this version, where it is not the hub; old is nil on create.
	Validate func(obj, old Object) field.ErrorList
	// TypeConverter merges objects by their schema in server-side apply.
	TypeConverter func() (managedfields.TypeConverter, error)
	// Schema documents the version in OpenAPI, for version 2 or 3 of that.
	Schema func(v2 bool) (*spec.Schema, error)
	// Fingerprint differs between schemas that differ.
	Fingerprint func() string
}

// Served says whether clients may ask for the version.
func (v *Version) Served() bool { return v.Custom == nil || !v.Custom.Hidden }

// Untyped says whether objects of the version have no Go type but unstructured.Unstructured.
func (v *Version) Untyped() bool { return v.Custom != nil }

// StorageVersionHash tells in discovery in which version objects are stored: eight bytes of SHA-256 over group/version/kind, as upstream's, so
// that it changes with the version.
func StorageVersionHash(stored schema.GroupVersionKind) string {
	sum := sha256.Sum256([]byte(stored.Group + "/" + stored.Version + "/" + stored.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// ListKind is the kind of lists of the version.
func (v *Version) ListKind() string {
	if v.Custom != nil && v.Custom.ListKind != "" {
		return v.Custom.ListKind
	}
	return v.Kind + "List"
}

// Kind is one row of the object table.
type Kind struct {
	// Versions served, the hub first: the hub is the version held in memory and in etcd.
	Versions []Version

	Resource   string // plural, lower case: "pods"
	Singular   string // "pod"
	ShortNames []string
	Categories []string // "all", …
	Scope      Scope
	// Deprecated, when not empty, is told to whoever uses the kind.
	Deprecated string

	// Verbs that the resource serves; nil means all eight: create, delete, deletecollection,
	// get, list, patch, update, watch.
	Verbs []string

	// Virtual kinds are not stored (reviews, bindings, component statuses): the server
	// has a handler for each.
	Virtual bool

	// StoragePrefix is the path below /registry that upstream uses: "pods", "minions",
	// "services/specs", "apiextensions.k8s.io/customresourcedefinitions".
	StoragePrefix string

	// Older are versions, not served here, in which upstream stores the kind, so that data can move in: how JSON of that version becomes the
	// hub. nil: the forms of both are the same, in protobuf too.
	Older map[string]func(data []byte) (Object, error)

	// WholeNames says that a name to be generated is what the client gives as its beginning: nothing can follow it.
	WholeNames bool

	// Strategy of the main resource.
	Strategy

	// CreateOnUpdate: an update of an object that is not there creates it.
	CreateOnUpdate bool

	// Subresources that the kind serves besides the object itself.
	Subresources []Subresource
	// Scale says where a custom resource keeps its size, when it has the subresource scale.
	Scale *ScalePaths

	// Fields are the selectable fields of an object besides metadata.name and
	// metadata.namespace; FieldNames lists the labels that a field selector may use.
	Fields     func(obj Object) fields.Set
	FieldNames []string

	// Columns and Cells print an object as a row of a table (meta.k8s.io/v1 Table) the way
	// kubectl get shows it. Cells gives one value a column; now is for ages.
	Columns []metav1.TableColumnDefinition
	Cells   func(obj Object, now time.Time) []any
	// RowOrder is the order of the rows of a list's table; nil: that of the list.
	RowOrder func(a, b Object) int
	// RowConditions says what is special about the row of an object; nil: nothing ever is.
	RowConditions func(obj Object) []metav1.TableRowCondition

	// GracePeriod, where the kind has graceful deletion (pods), decides the grace period in seconds for a
	// deletion; graceful false means that the object is removed at once.
	GracePeriod func(obj Object, opts *metav1.DeleteOptions) (seconds int64, graceful bool)
	// BeginDelete, where the kind has work to be done before its objects go, changes an object whose deletion begins: it
	// adds the finalizer of who does that work.
	BeginDelete func(obj Object)

	// Epoch orders the rows that take each other's place as a custom resource definition changes.
	Epoch int64
}

// ReturnsDeleted says whether a deletion is answered with the object that is gone, in place of a Status.
func (k *Kind) ReturnsDeleted() bool {
	switch gr := k.GroupResource(); gr.Group {
	case "":
		switch gr.Resource {
		case "pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "podtemplates", "resourcequotas":
			return true
		}
	case "storage.k8s.io":
		return gr.Resource != "csistoragecapacities"
	case "resource.k8s.io":
		return gr.Resource != "devicetaintrules"
	}
	return false
}

// ScalePaths are the places of a workload's size in an untyped object: field names, outermost first.
type ScalePaths struct {
	SpecReplicas, StatusReplicas, Selector []string
}

// Strategy is how objects are made ready and judged. Each function may be nil.
// Objects are of the hub version and belong to the caller: Default and the Prepare
// functions change them in place; old is shared and must not be changed.
//
// The order of a create is Default, (admission, uid, name), PrepareCreate, Validate; of an update Default,
// (admission), PrepareUpdate, ValidateUpdate. Where a name is generated, Default and PrepareCreate are called again with
// each name that is tried. Objects read from etcd are defaulted too. Validate judges the whole object, its metadata
// included, and wants name or generateName filled in. ValidateUpdate judges the whole update:
// it says all that Validate would say and what may not change, so an update calls it alone.
// Rows keep metadata.generation: the server leaves it alone. A subresource with a strategy defaults with
// its parent's Default; its ValidateUpdate judges the parent as changed through it.
type Strategy struct {
	Default        func(obj Object)
	PrepareCreate  func(obj Object)
	PrepareUpdate  func(obj, old Object)
	Validate       func(obj Object) field.ErrorList
	ValidateUpdate func(obj, old Object) field.ErrorList
	// Warnings are texts for the Warning header: deprecated or dubious fields. old is nil on create.
	Warnings func(obj, old Object) []string
}

// Subresource is one path below an object: pods/status, deployments/scale, pods/exec.
type Subresource struct {
	Name  string
	Verbs []string
	// Kind of the body, where it is not the parent's own (autoscaling/v1 Scale, policy/v1 Eviction).
	GroupVersionKind schema.GroupVersionKind
	// Strategy of an update through a subresource that writes the parent (status, resize,
	// approval, ephemeralcontainers): PrepareUpdate resets what that subresource may not touch.
	// Subresources without PrepareUpdate are served by a handler of the server.
	Strategy
}

// Hub is the version held in memory and in etcd.
func (k *Kind) Hub() *Version { return &k.Versions[0] }

// GroupVersionResource of the hub version.
func (k *Kind) GroupVersionResource() schema.GroupVersionResource {
	return k.Hub().GroupVersion.WithResource(k.Resource)
}

// GroupResource names the resource without a version.
func (k *Kind) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.Hub().Group, Resource: k.Resource}
}

// GroupVersionKind of the hub version.
func (k *Kind) GroupVersionKind() schema.GroupVersionKind {
	return k.Hub().GroupVersion.WithKind(k.Hub().Kind)
}

// SubresourceIn looks one up by name; nil when the version has none of that name.
func (k *Kind) SubresourceIn(v *Version, name string) *Subresource {
	if v.Custom != nil && slices.Contains(v.Custom.Without, name) {
		return nil
	}
	return k.Subresource(name)
}

// FieldNamesIn are the fields that a selector may use in a version, besides name and namespace.
func (k *Kind) FieldNamesIn(v *Version) []string {
	if v.Custom != nil {
		return v.Custom.FieldNames
	}
	if v.FieldNames != nil {
		return v.FieldNames
	}
	return k.FieldNames
}

// Subresource looks one up by name; nil when the kind has none of that name.
func (k *Kind) Subresource(name string) *Subresource {
	for i := range k.Subresources {
		if k.Subresources[i].Name == name {
			return &k.Subresources[i]
		}
	}
	return nil
}

// Connects says whether a subresource passes a connection or whole requests on (exec, proxy): its kind is then that of the
// options in the query.
func (s *Subresource) Connects() bool { return strings.HasSuffix(s.GroupVersionKind.Kind, "Options") }

// AllVerbs are the verbs of a resource whose row names none.
var AllVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// Serves says whether the resource itself answers a verb.
func (k *Kind) Serves(verb string) bool {
	verbs := k.Verbs
	if verbs == nil {
		verbs = AllVerbs
	}
	return slices.Contains(verbs, verb)
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// Change makes the new object out of the stored one, which is shared. It may be called several times and
// returns an object of its own each time. cur is nil when there is none, which only happens when creating is allowed.
type Change func(cur *store.Entry) (object.Object, error)

// UpdateOptions is what [Registry.Update] needs of UpdateOptions and PatchOptions.
type UpdateOptions struct {
	DryRun bool
	// Options as they go to admission.
	Options runtime.Object
	// CreateOptions, when not nil, allow the update to create the object; authorize is asked first.
	CreateOptions *metav1.CreateOptions
	Authorize     func() error
	// Manager is who is recorded as the owner of the fields that change; empty: the program that sent the request. Applied says that
	// change has recorded that itself.
	Manager string
	Applied bool
	// TrackAs is the subresource that the change is recorded for, where it is another than the target's.
	TrackAs string
	// UID and ResourceVersion that the stored object must have, where set.
	UID             string
	ResourceVersion string
}

// Update changes one object, or what a subresource shows of it.
func (r *Registry) Update(ctx context.Context, req *request.Request, t Target, key object.Key, change Change, o UpdateOptions) (Result, error) {
	for {
		u := updating{r: r, ctx: ctx, req: req, t: t, key: key, change: change, o: o, commit: nothing, rollback: nothing}
		res, err := u.run()
		var gone *lastFinalizer
		switch {
		case errors.As(err, &gone):
			// The write takes away the last thing that kept a deleted object: remove it, if it is still in that state.
			res, err = r.finish(ctx, t.Kind, key, gone, o.DryRun)
		case err == errCreate:
			res, err = u.createInstead()
		}
		if err != errMoved {
			return res, err
		}
	}
}

var (
	// errMoved says that another writer came between and all is to be done again.
	errMoved = errors.New("the object was changed meanwhile")
	// errCreate says that there is nothing to update but that the request may create.
	errCreate = errors.New("there is no such object yet")
)

// lastFinalizer ends an update that should remove the object instead.
type lastFinalizer struct {
	obj      object.Object
	revision int64
}

func (*lastFinalizer) Error() string { return "nothing keeps the object any more" }

// finish removes an object of which an update took the last finalizer.
func (r *Registry) finish(ctx context.Context, k *object.Kind, key object.Key, g *lastFinalizer, dryRun bool) (Result, error) {
	g.obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	if dryRun {
		return Result{Fresh: g.obj, Removed: true}, nil
	}
	_, err := r.remove(ctx, k, key, g.revision)
	return Result{Fresh: g.obj, Removed: true}, err
}

// remove deletes an object if it is still at that revision, and fails with errMoved otherwise.
func (r *Registry) remove(ctx context.Context, k *object.Kind, key object.Key, revision int64) (*store.Entry, error) {
	commit, rollback := nothing, nothing
	e, err := r.Collection(k).Delete(ctx, key, func(cur *store.Entry) error {
		rollback()
		commit, rollback = nothing, nothing
		if cur.Revision != revision {
			return errMoved
		}
		var err error
		commit, rollback, err = r.hook(ctx, k, nil, cur.Object(), false)
		return err
	})
	if err != nil {
		rollback()
		return nil, err
	}
	commit()
	r.known(ctx, k, e)
	return e, nil
}

// updating is one call of Update.
type updating struct {
	r                *Registry
	ctx              context.Context
	req              *request.Request
	t                Target
	key              object.Key
	change           Change
	o                UpdateOptions
	dry              object.Object // outcome of a dry run
	commit, rollback func()        // of the last attempt
	tell             func()        // warns of what the last attempt wants to write
}

func (u *updating) run() (Result, error) {
	e, err := u.r.Collection(u.t.Kind).UpdateTTL(u.ctx, u.key, u.r.ttl(u.t.Kind), u.attempt)
	if err != nil {
		u.rollback()
		return Result{}, err
	}
	if u.dry != nil {
		u.rollback()
		u.dry.GetObjectKind().SetGroupVersionKind(u.t.Kind.GroupVersionKind())
		return Result{Fresh: u.dry}, nil
	}
	u.commit()
	u.r.known(u.ctx, u.t.Kind, e)
	return stored(e), nil
}

func (u *updating) attempt(cur *store.Entry) (object.Object, error) {
	u.rollback() // the attempt before this one was not stored
	u.commit, u.rollback, u.dry = nothing, nothing, nil
	if cur == nil {
		if u.o.CreateOptions != nil {
			return nil, errCreate
		}
		return nil, apierrors.NewNotFound(u.t.groupResource(), u.key.Name)
	}
	obj, err := u.prepare(cur)
	if err != nil || obj == cur.Object() {
		return obj, err
	}
	if releasable(u.t.Kind, obj, cur.Object()) {
		u.tell()
		return nil, &lastFinalizer{obj, cur.Revision}
	}
	if u.commit, u.rollback, err = u.r.prepareWrite(u.ctx, u.t, obj, cur.Object(), u.o.DryRun, u.tell); err != nil {
		u.commit, u.rollback = nothing, nothing
		return nil, err
	}
	if u.o.DryRun {
		u.dry = obj
		return cur.Object(), nil
	}
	return obj, nil
}

// prepare makes, admits and judges the new object.
func (u *updating) prepare(cur *store.Entry) (object.Object, error) {
	k, s, old := u.t.Kind, u.t.strategy(), cur.Object()
	if err := u.o.matches(u.t, u.key, old); err != nil {
		return nil, err
	}
	obj, err := u.change(cur)
	if err != nil || obj == old {
		return obj, err
	}
	if err := u.match(obj, old); err != nil {
		return nil, err
	}
	keepSystemFields(obj, old)
	uniqueOwners(u.req, obj)
	if s.Default != nil {
		s.Default(obj)
	}
	if !u.o.Applied { // what admission and the strategy change is not the manager's doing
		if obj, err = u.track(obj, old); err != nil {
			return nil, err
		}
	}
	a := u.r.attributes(u.req, u.t, admission.Update, obj, old, u.o.Options, u.o.DryRun)
	if err := u.r.admit(u.ctx, a, s); err != nil {
		return nil, err
	}
	obj = a.Object
	if s.PrepareUpdate != nil {
		s.PrepareUpdate(obj, old)
	}
	u.r.cfg.Managers.Settle(obj, old)
	if s.ValidateUpdate != nil {
		if err := invalid(k, obj, s.ValidateUpdate(obj, old)); err != nil {
			return nil, err
		}
	}
	if err := validateIn(u.t, obj, old); err != nil {
		return nil, err
	}
	object.DropEmptyLists(obj)
	obj.SetUID(old.GetUID())
	u.tell = func() { warn(u.req, s, obj, old) }
	if err := u.r.cfg.Admission.Validate(u.ctx, a); err != nil {
		u.tell()
		return nil, err
	}
	return obj, nil
}

// createInstead creates the object that the update did not find.
func (u *updating) createInstead() (Result, error) {
	obj, err := u.change(nil)
	if err != nil {
		return Result{}, err
	}
	if u.o.UID != "" {
		return Result{}, apierrors.NewNotFound(u.t.groupResource(), u.key.Name)
	}
	if uid := obj.GetUID(); uid != "" && !u.o.Applied {
		return Result{}, u.otherUID(uid, "")
	}
	obj.SetResourceVersion("") // that of an object that is gone
	if u.o.Authorize != nil {
		if err := u.o.Authorize(); err != nil {
			return Result{}, err
		}
	}
	if err := matchNamespace(u.req, u.t.Kind, obj); err != nil {
		return Result{}, err
	}
	res, err := u.r.create(u.ctx, u.req, u.t, obj, u.o.CreateOptions, u.o.Applied)
	if apierrors.IsAlreadyExists(err) && !u.o.DryRun {
		return res, errMoved
	}
	return res, err
}

// otherUID is the answer to an object that is not the stored one, or that is not stored at all.
func (u *updating) otherUID(want, stored types.UID) error {
	root := "/registry"
	if u.o.DryRun {
		root = "" // a trial does not come as far as the datastore
	}
	key := u.key.String()
	if u.t.Kind.Scope == object.Cluster {
		key = u.key.Name
	}
	return apierrors.NewConflict(u.t.groupResource(), u.key.Name,
		fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s/%s/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %v, UID in object meta: %v",
			root, u.t.Kind.StoragePrefix, key, want, stored))
}

// ErrName is the answer to an object of another name than that in the path.
func ErrName(object, path string) error {
	if object == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", path))
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", object, path))
}

// match refuses an object that is not the stored one, or not its newest version.
func (u *updating) match(obj, old object.Object) error {
	k := u.t.Kind
	if err := matchNamespace(u.req, k, obj); err != nil {
		return err
	}
	if obj.GetName() != u.key.Name {
		return ErrName(obj.GetName(), u.key.Name)
	}
	if uid := obj.GetUID(); uid != "" && uid != old.GetUID() && !u.patches() {
		return u.otherUID(uid, old.GetUID())
	}
	switch rv := obj.GetResourceVersion(); {
	case rv == old.GetResourceVersion():
	case !wholeNumber(rv):
		return errVersion(rv)
	case rv != "" && rv != "0":
		return conflict(u.t, u.key.Name)
	case !unconditional(k, old):
		gr := u.t.groupResource()
		return apierrors.NewInvalid(schema.GroupKind{Group: gr.Group, Kind: gr.Resource}, obj.GetName(),
			field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), uint64(0), "must be specified for an update")})
	default:
		obj.SetResourceVersion(old.GetResourceVersion())
	}
	return nil
}

// patches says whether the request is a patch. A UID in what is put must be that of the stored object; one in a patch tries to change it, which
// validation refuses.
func (u *updating) patches() bool {
	_, is := u.o.Options.(*metav1.PatchOptions)
	return is
}

func (o *UpdateOptions) matches(t Target, key object.Key, cur object.Object) error {
	if o.UID != "" && o.UID != string(cur.GetUID()) {
		return apierrors.NewConflict(t.groupResource(), key.Name,
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", o.UID, cur.GetUID()))
	}
	if o.ResourceVersion != "" && o.ResourceVersion != cur.GetResourceVersion() {
		return conflict(t, key.Name)
	}
	return nil
}

func wholeNumber(version string) bool {
	_, err := strconv.ParseUint(version, 10, 64)
	return err == nil || version == ""
}

// errVersion is the answer to a resourceVersion that is no number, in the form in which clients know it.
func errVersion(version string) error {
	_, err := strconv.ParseUint(version, 10, 64)
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonUnknown,
		Message: err.Error(),
	}}
}

func conflict(t Target, name string) error {
	return apierrors.NewConflict(t.groupResource(), name, errors.New(
		"the object has been modified; please apply your changes to the latest version and try again"))
}

// keepSystemFields restores what only the server may change.
func keepSystemFields(obj, old object.Object) {
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	// Of the deletion an update may leave out what it does not know; validation refuses what it makes up.
	if obj.GetDeletionTimestamp() == nil {
		obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	}
	if obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
	obj.SetGeneration(old.GetGeneration())
	obj.SetSelfLink("")
}

// unconditional says whether an update may leave out the resourceVersion.
func unconditional(k *object.Kind, obj object.Object) bool {
	if _, custom := obj.(*unstructured.Unstructured); custom {
		return false
	}
	if k.Hub().Group == "admissionregistration.k8s.io" {
		return false
	}
	switch k.GroupResource() {
	case schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"},
		schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"},
		schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		schema.GroupResource{Group: "apiregistration.k8s.io", Resource: "apiservices"},
		schema.GroupResource{Group: "storage.k8s.io", Resource: "csidrivers"},
		schema.GroupResource{Group: "storage.k8s.io", Resource: "csinodes"},
		schema.GroupResource{Group: "storage.k8s.io", Resource: "volumeattachments"},
		schema.GroupResource{Group: "node.k8s.io", Resource: "runtimeclasses"},
		schema.GroupResource{Group: "storage.k8s.io", Resource: "csistoragecapacities"},
		schema.GroupResource{Group: "certificates.k8s.io", Resource: "clustertrustbundles"},
		schema.GroupResource{Group: "resource.k8s.io", Resource: "devicetaintrules"},
		schema.GroupResource{Group: "storagemigration.k8s.io", Resource: "storageversionmigrations"}:
		return false
	}
	return true
}

package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
)

const (
	// longestBase is the part of generateName that is kept, so that with its suffix a name stays a DNS label.
	longestBase = 58
	suffix      = 5
	// nameAttempts is how many generated names are tried.
	nameAttempts = 8
)

// Create stores a new object.
func (r *Registry) Create(ctx context.Context, req *request.Request, t Target, obj object.Object, o *metav1.CreateOptions) (Result, error) {
	if err := matchNamespace(req, t.Kind, obj); err != nil {
		return Result{}, err
	}
	return r.create(ctx, req, t, obj, o, false)
}

// create stores a new object. When it was applied, its managers are known already.
func (r *Registry) create(ctx context.Context, req *request.Request, t Target, obj object.Object, o *metav1.CreateOptions, applied bool) (Result, error) {
	k, strategy, dryRun := t.Kind, t.strategy(), IsDryRun(o.DryRun)
	if obj.GetResourceVersion() != "" && !dryRun { // what is not stored has no version to be at odds with
		return Result{}, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	obj.SetResourceVersion("")
	uniqueOwners(req, obj)
	if strategy.Default != nil {
		strategy.Default(obj)
	}
	if !applied {
		var err error
		if obj, err = r.cfg.Managers.TrackNew(k, t.Version, obj, managerOf(req, o.FieldManager)); err != nil {
			return Result{}, err
		}
	}
	a := r.attributes(req, t, admission.Create, obj, nil, o, dryRun)
	a.Name = obj.GetName()
	if err := r.admit(ctx, a, strategy); err != nil {
		return Result{}, err
	}
	obj = a.Object
	r.systemFields(obj)
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	for attempt := 1; ; attempt++ {
		if generated {
			obj.SetName(generateName(k, obj.GetGenerateName()))
			if strategy.Default != nil {
				strategy.Default(obj) // defaults may depend on the name
			}
		}
		if strategy.PrepareCreate != nil {
			strategy.PrepareCreate(obj)
		}
		res, err := r.createNamed(ctx, req, t, a, dryRun)
		if generated && apierrors.IsAlreadyExists(err) && attempt < nameAttempts {
			obj.SetResourceVersion("")
			continue
		}
		return res, err
	}
}

// createNamed judges and stores an object that has its name.
func (r *Registry) createNamed(ctx context.Context, req *request.Request, t Target, a *admission.Attributes, dryRun bool) (Result, error) {
	k, strategy, obj := t.Kind, t.strategy(), a.Object
	if err := validate(k, obj, strategy.Validate); err != nil {
		return Result{}, err
	}
	if err := validateIn(t, obj, nil); err != nil {
		return Result{}, err
	}
	object.DropEmptyLists(obj)
	tell := func() { warn(req, strategy, obj, nil) }
	if err := r.cfg.Admission.Validate(ctx, a); err != nil {
		tell()
		return Result{}, err
	}
	commit, rollback, err := r.prepareWrite(ctx, t, obj, nil, dryRun, tell)
	if err != nil {
		return Result{}, err
	}
	key := object.KeyOf(obj)
	if dryRun {
		defer rollback()
		if _, err := r.Collection(k).Get(ctx, key, ""); err == nil {
			return Result{}, apierrors.NewAlreadyExists(t.groupResource(), key.Name)
		} else if !apierrors.IsNotFound(err) {
			return Result{}, err
		}
		obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
		return Result{Fresh: obj, Created: true}, nil
	}
	e, err := r.Collection(k).Create(ctx, key, obj, r.ttl(k))
	if err != nil {
		rollback()
		return Result{}, err
	}
	commit()
	r.known(ctx, k, e)
	res := stored(e)
	res.Created = true
	return res, nil
}

// systemFields sets what only the server may say of a new object.
func (r *Registry) systemFields(obj object.Object) {
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(r.now())
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
}

// Received makes ready an object that a handler will answer: what the server alone may say is taken out, and its manager is noted as
// for an object that is stored.
func (r *Registry) Received(req *request.Request, t Target, obj object.Object, o *metav1.CreateOptions) (object.Object, error) {
	if err := matchNamespace(req, t.Kind, obj); err != nil {
		return nil, err
	}
	obj.SetUID("")
	obj.SetCreationTimestamp(metav1.Time{})
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	uniqueOwners(req, obj)
	return r.cfg.Managers.TrackNew(t.Kind, t.Version, obj, managerOf(req, o.FieldManager))
}

// uniqueOwners takes owners that are named again out of an object, and tells whoever named them so.
func uniqueOwners(req *request.Request, obj object.Object) {
	owners := obj.GetOwnerReferences()
	if len(owners) < 2 {
		return
	}
	var kept []metav1.OwnerReference
	var twice []string
	for i := range owners {
		if slices.ContainsFunc(kept, func(o metav1.OwnerReference) bool { return equality.Semantic.DeepEqual(o, owners[i]) }) {
			twice = append(twice, string(owners[i].UID))
			continue
		}
		kept = append(kept, owners[i])
	}
	if len(twice) > 0 {
		obj.SetOwnerReferences(kept)
		req.Warn(".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; " +
			"please fix your requests; duplicate UID(s) observed: " + strings.Join(twice, ", "))
	}
}

func generateName(k *object.Kind, base string) string {
	if k.WholeNames {
		return base
	}
	if len(base) > longestBase {
		base = base[:longestBase]
	}
	return base + utilrand.String(suffix)
}

// matchNamespace fills in the namespace of the request and refuses another.
func matchNamespace(req *request.Request, k *object.Kind, obj object.Object) error {
	if k.Scope == object.Cluster {
		obj.SetNamespace("")
		return nil
	}
	switch obj.GetNamespace() {
	case req.Namespace:
	case "":
		obj.SetNamespace(req.Namespace)
	default:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if obj.GetNamespace() == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("an empty namespace may not be set when a resource name is provided or a %s is created", k.Hub().Kind))
	}
	return nil
}

// validate turns the verdict of a strategy into a 422. Kinds without one must at least have a name.
func validate(k *object.Kind, obj object.Object, judge func(object.Object) field.ErrorList) error {
	var errs field.ErrorList
	switch {
	case judge != nil:
		errs = judge(obj)
	case obj.GetName() == "":
		errs = field.ErrorList{field.Required(field.NewPath("metadata", "name"), "name or generateName is required")}
	}
	return invalid(k, obj, errs)
}

func invalid(k *object.Kind, obj object.Object, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(k.GroupVersionKind().GroupKind(), obj.GetName(), errs)
}

// validateIn judges an object in the version of the request, where its schema is another than the hub's.
func validateIn(t Target, obj, old object.Object) error {
	v := t.Version
	if v.Custom == nil || v.FromHub == nil {
		return nil
	}
	in, err := v.FromHub(obj)
	if err != nil {
		return err
	}
	if old != nil {
		if old, err = v.FromHub(old); err != nil {
			return err
		}
	}
	return invalid(t.Kind, obj, v.Custom.Validate(in, old))
}

func warn(req *request.Request, s object.Strategy, obj, old object.Object) {
	if s.Warnings == nil {
		return
	}
	for _, w := range s.Warnings(obj, old) {
		req.Warn(w)
	}
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// Delete removes an object, or marks it for deletion when a grace period or finalizers keep it. Result.Removed tells which.
func (r *Registry) Delete(ctx context.Context, req *request.Request, t Target, key object.Key, o *metav1.DeleteOptions) (Result, error) {
	for {
		d := deleting{r: r, ctx: ctx, req: req, t: t, key: key, o: o}
		res, err := d.run()
		if err != errMoved {
			return res, err
		}
	}
}

// deleting is one call of Delete.
type deleting struct {
	r        *Registry
	ctx      context.Context
	req      *request.Request
	t        Target
	key      object.Key
	o        *metav1.DeleteOptions
	admitted bool
	marked   object.Object // outcome of a dry run that marks
}

// errRemove ends the marking of an object that can go at once.
type errRemove struct{ cur *store.Entry }

func (*errRemove) Error() string { return "nothing keeps the object" }

func (d *deleting) run() (Result, error) {
	k := d.t.Kind
	if likely, err := d.r.Collection(k).Get(d.ctx, d.key, "0"); err == nil && k.GracePeriod == nil && k.BeginDelete == nil && !kept(likely.Object()) {
		// Most likely nothing keeps it: one transaction does.
		res, err := d.remove(likely.Revision, true)
		if err != errKept {
			return res, err
		}
	}
	e, err := d.r.Collection(k).Update(d.ctx, d.key, d.mark)
	var now *errRemove
	switch {
	case errors.As(err, &now):
		res, err := d.remove(now.cur.Revision, false)
		if err == nil && k.GracePeriod != nil {
			d.ended(&res)
		}
		return res, err
	case err != nil:
		return Result{}, err
	case d.marked != nil:
		d.marked.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
		return Result{Fresh: d.marked}, nil
	}
	return stored(e), nil
}

// ended has the answer tell of an object with a grace period that it had none left. Nothing of that was stored.
func (d *deleting) ended(res *Result) {
	obj := res.Entry.Object().DeepCopyObject().(object.Object)
	if markDeleted(obj, d.r.now()) {
		obj.GetObjectKind().SetGroupVersionKind(d.t.Kind.GroupVersionKind())
		res.Fresh = obj
	}
}

// errKept says that the object is not to go at once after all.
var errKept = errors.New("something keeps the object")

// remove takes the object away. Unless judge is set it was judged at that revision; a newer one gives errMoved.
func (d *deleting) remove(revision int64, judge bool) (Result, error) {
	commit, rollback := nothing, nothing
	dry := IsDryRun(d.o.DryRun)
	var last *store.Entry
	e, err := d.r.Collection(d.t.Kind).Delete(d.ctx, d.key, func(cur *store.Entry) error {
		rollback()
		commit, rollback = nothing, nothing
		if judge {
			_, err := d.mark(cur)
			var now *errRemove
			if err == nil {
				return errKept
			} else if !errors.As(err, &now) {
				return err
			}
		} else if cur.Revision != revision {
			return errMoved
		}
		if dry {
			last = cur
			return errDry
		}
		var err error
		commit, rollback, err = d.r.hook(d.ctx, d.t.Kind, nil, cur.Object(), false)
		return err
	})
	if err == errDry {
		return Result{Entry: last, Removed: true}, nil
	}
	if err != nil {
		rollback()
		return Result{}, err
	}
	commit()
	d.r.known(d.ctx, d.t.Kind, e)
	return Result{Entry: e, Removed: true}, nil
}

// errDry ends a deletion that is only tried out.
var errDry = errors.New("dry run")

// mark gives the object as it is while it waits for its end; errRemove when it need not wait.
func (d *deleting) mark(cur *store.Entry) (object.Object, error) {
	d.marked = nil
	k := d.t.Kind
	if cur == nil {
		return nil, apierrors.NewNotFound(k.GroupResource(), d.key.Name)
	}
	old := cur.Object()
	if err := deletePreconditions(k, old, d.o.Preconditions); err != nil {
		return nil, err
	}
	if err := d.admit(old); err != nil {
		return nil, err
	}
	obj := old.DeepCopyObject().(object.Object)
	graceful, pending := d.grace(obj)
	changed := graceful
	if graceful && pending {
		return old, nil
	}
	if f := dependentsFinalizers(k, old, d.o); !slices.Equal(f, old.GetFinalizers()) {
		obj.SetFinalizers(f)
		changed = true
	}
	if k.BeginDelete != nil && old.GetDeletionTimestamp() == nil {
		k.BeginDelete(obj)
		changed = true
	}
	if !graceful {
		if !kept(obj) {
			return nil, &errRemove{cur}
		}
		changed = markDeleted(obj, d.r.now()) || changed
	}
	if !changed {
		return old, nil
	}
	if IsDryRun(d.o.DryRun) {
		d.marked = obj
		return old, nil
	}
	return obj, nil
}

func (d *deleting) admit(old object.Object) error {
	a := d.r.attributes(d.req, d.t, admission.Delete, nil, old, d.o, IsDryRun(d.o.DryRun))
	a.Name, a.Namespace = d.key.Name, d.key.Namespace
	if !d.admitted {
		if err := d.r.cfg.Admission.Mutate(d.ctx, a); err != nil {
			return err
		}
		d.admitted = true
		if _, job := old.(*batchv1.Job); job && d.o.OrphanDependents == nil && d.o.PropagationPolicy == nil {
			d.req.Warn(jobWarning)
		}
	}
	return d.r.cfg.Admission.Validate(d.ctx, a)
}

// grace applies the grace period of kinds that have one. graceful: the object stays for its grace period;
// pending: it was already marked and nothing about that changes.
func (d *deleting) grace(obj object.Object) (graceful, pending bool) {
	k := d.t.Kind
	if k.GracePeriod == nil {
		return false, false
	}
	seconds, wants := k.GracePeriod(obj, d.o)
	if was := obj.GetDeletionTimestamp(); was != nil {
		period := obj.GetDeletionGracePeriodSeconds()
		if period == nil || *period == 0 {
			// The grace is over: only finalizers are left.
			return false, false
		}
		if d.o.GracePeriodSeconds == nil || *d.o.GracePeriodSeconds >= *period {
			return true, true
		}
		if !wants || seconds <= 0 {
			return false, false // its grace ends now: markDeleted writes so, where finalizers keep it
		}
		until := metav1.NewTime(was.Add(-time.Duration(*period-seconds) * time.Second))
		obj.SetDeletionTimestamp(&until)
		obj.SetDeletionGracePeriodSeconds(&seconds)
		return true, false
	}
	if !wants || seconds <= 0 {
		return false, false
	}
	until := metav1.NewTime(d.r.now().Add(time.Duration(seconds) * time.Second))
	obj.SetDeletionTimestamp(&until)
	obj.SetDeletionGracePeriodSeconds(&seconds)
	if g := obj.GetGeneration(); g > 0 {
		obj.SetGeneration(g + 1)
	}
	return true, false
}

// markDeleted says of an object that finalizers keep that it would be gone otherwise. False: it says so already.
func markDeleted(obj object.Object, now metav1.Time) bool {
	zero := int64(0)
	if period := obj.GetDeletionGracePeriodSeconds(); obj.GetDeletionTimestamp() != nil && (period == nil || *period == 0) {
		return false
	}
	was := obj.GetDeletionTimestamp()
	if was == nil || was.After(now.Time) {
		obj.SetDeletionTimestamp(&now)
	}
	if _, ok := obj.(*apiextensionsv1.CustomResourceDefinition); ok {
		return true // how long it stays is up to its objects; what it says is the same
	}
	obj.SetDeletionGracePeriodSeconds(&zero)
	if g := obj.GetGeneration(); g > 0 && was == nil {
		obj.SetGeneration(g + 1)
	}
	if ns, ok := obj.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceTerminating
		ns.SetDeletionGracePeriodSeconds(nil)
	}
	return true
}

func deletePreconditions(k *object.Kind, obj object.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	who := schema.GroupResource{Group: k.Hub().Group, Resource: k.Hub().Kind}
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(who, obj.GetName(), fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated",
			*p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(who, obj.GetName(), fmt.Errorf(
			"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified",
			*p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

package main

import (
	"context"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const finalizer = group + "/close"

// reconciler makes of each site a deployment, and writes down the sites that were closed.
type reconciler struct {
	client.Client
	recorder events.EventRecorder
}

func addReconciler(mgr ctrl.Manager) error {
	r := &reconciler{Client: mgr.GetClient(), recorder: mgr.GetEventRecorder("operator")}
	return ctrl.NewControllerManagedBy(mgr).For(&Site{}).Owns(&appsv1.Deployment{}).Complete(r)
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	site := &Site{}
	if err := r.Get(ctx, req.NamespacedName, site); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if site.DeletionTimestamp != nil {
		return ctrl.Result{}, r.closeSite(ctx, site)
	}
	if controllerutil.AddFinalizer(site, finalizer) {
		return ctrl.Result{}, r.Update(ctx, site)
	}
	d, err := r.deploy(ctx, site)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.report(ctx, site, d)
}

func (r *reconciler) deploy(ctx context.Context, site *Site) (*appsv1.Deployment, error) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: site.Name}}
	done, err := controllerutil.CreateOrUpdate(ctx, r.Client, d, func() error {
		labels := map[string]string{"site": site.Name}
		d.Labels = labels
		d.Spec.Replicas = site.Spec.Replicas
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels = labels
		if len(d.Spec.Template.Spec.Containers) == 0 {
			d.Spec.Template.Spec.Containers = make([]corev1.Container, 1)
		}
		c := &d.Spec.Template.Spec.Containers[0]
		c.Name, c.Image, c.Args = "web", "example.test/webapp:1", []string{"serve", site.Spec.Text}
		return controllerutil.SetControllerReference(site, d, r.Scheme())
	})
	if done == controllerutil.OperationResultCreated {
		r.recorder.Eventf(site, d, corev1.EventTypeNormal, "Opened", "Open", "made deployment %s", d.Name)
	}
	return d, err
}

// report writes what there is of a site, if that has changed.
func (r *reconciler) report(ctx context.Context, site *Site, d *appsv1.Deployment) error {
	before := site.DeepCopyObject().(*Site)
	site.Status.Replicas, site.Status.ReadyReplicas = d.Status.Replicas, d.Status.ReadyReplicas
	site.Status.Selector, site.Status.Leader = "site="+site.Name, os.Getenv("POD_NAME")
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Rolling", ObservedGeneration: site.Generation}
	if d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == *site.Spec.Replicas && d.Status.UpdatedReplicas == *site.Spec.Replicas {
		ready.Status, ready.Reason = metav1.ConditionTrue, "Serving"
	}
	meta.SetStatusCondition(&site.Status.Conditions, ready)
	return r.Status().Patch(ctx, site, client.MergeFrom(before))
}

// closeSite writes a site's name down before it may go.
func (r *reconciler) closeSite(ctx context.Context, site *Site) error {
	book := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: site.Namespace, Name: "closed"}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, book, func() error {
		if book.Data == nil {
			book.Data = map[string]string{}
		}
		book.Data[site.Name] = site.Spec.Text
		return nil
	})
	if err != nil {
		return err
	}
	controllerutil.RemoveFinalizer(site, finalizer)
	return client.IgnoreNotFound(r.Update(ctx, site))
}

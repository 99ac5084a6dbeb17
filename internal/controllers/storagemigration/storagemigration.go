// Package storagemigration has every object of a resource written anew, so that the datastore keeps none in an older version of its
// kind, or sealed with an older key (KEP-4192).
//
// Watches: StorageVersionMigrations. Writes: their status; all objects of the resource that they name, by patches that change
// nothing; of a custom resource's definition, the versions that are still stored.
package storagemigration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "storage-version-migrator-controller"

// The reasons of a migration's conditions.
const (
	reasonRunning   = "StorageVersionMigrationRunning"
	reasonSucceeded = "StorageVersionMigrationSucceeded"
	reasonFailed    = "StorageVersionMigrationFailed"
)

// page is how many objects are held at a time.
const page = 500

var (
	migrations  = client.Resource[*migrationv1.StorageVersionMigration]{GVR: migrationv1.SchemeGroupVersion.WithResource("storageversionmigrations")}
	definitions = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}
)

// errImpossible marks what no later attempt could do.
var errImpossible = errors.New("cannot be migrated")

type controller struct {
	client  client.Interface
	wanted  *client.Informer[*migrationv1.StorageVersionMigration]
	queue   *client.Queue[string]
	workers int
}

// New registers the controller. workers is how many migrations run at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:  d.Client("storage-version-migrator-controller"),
		wanted:  client.InformerFor(d.Informers, migrations),
		queue:   client.NewQueue[string](Name),
		workers: workers,
	}
	c.wanted.OnChange(func(_, new *migrationv1.StorageVersionMigration) {
		if new != nil && !ended(new) {
			c.queue.Add(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func ended(m *migrationv1.StorageVersionMigration) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, string(migrationv1.MigrationSucceeded)) ||
		meta.IsStatusConditionTrue(m.Status.Conditions, string(migrationv1.MigrationFailed))
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	m, ok := c.wanted.Get("", name)
	if !ok || ended(m) {
		return nil
	}
	err := c.migrate(ctx, m)
	switch {
	case err == nil:
		return c.end(ctx, m, migrationv1.MigrationSucceeded, reasonSucceeded, "")
	case errors.Is(err, errImpossible):
		return c.end(ctx, m, migrationv1.MigrationFailed, reasonFailed, err.Error())
	default:
		return err
	}
}

// migrate has all objects written that were there when the migration began. What is written later is written in today's form anyway.
func (c *controller) migrate(ctx context.Context, m *migrationv1.StorageVersionMigration) error {
	served, err := c.find(ctx, m.Spec.Resource)
	if err != nil {
		return err
	}
	gvr := client.GVR{Group: served.Group, Version: served.Version, Resource: served.Name}
	crd, err := definitions.Get(ctx, c.client, "", m.Spec.Resource.Resource+"."+m.Spec.Resource.Group)
	if apierrors.IsNotFound(err) {
		crd = nil
	} else if err != nil {
		return err
	} else if hash := object.StorageVersionHash(schema.GroupVersionKind{Group: gvr.Group, Version: storageVersion(crd), Kind: served.Kind}); hash != served.StorageVersionHash {
		return fmt.Errorf("the server does not store %s in version %s yet", crd.Name, storageVersion(crd))
	}
	until, err := c.begin(ctx, m, gvr)
	if err != nil {
		return err
	}
	for o := (metav1.ListOptions{Limit: page}); ; {
		l, err := c.client.List(ctx, gvr, "", o)
		if apierrors.IsResourceExpired(err) && o.Continue != "" {
			o.Continue = "" // what was written in the meantime is passed over
			continue
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", m.Spec.Resource.String(), err)
		}
		for _, obj := range l.Items {
			if err := c.rewrite(ctx, gvr, obj, until); err != nil {
				return err
			}
		}
		if o.Continue = l.Continue; o.Continue == "" {
			break
		}
	}
	if crd == nil {
		return nil
	}
	return c.forget(ctx, crd)
}

// find is how the resource is served, of several versions in the one that the server prefers.
func (c *controller) find(ctx context.Context, r metav1.GroupResource) (metav1.APIResource, error) {
	all, err := c.client.Resources(ctx)
	i := slices.IndexFunc(all, func(a metav1.APIResource) bool { return a.Group == r.Group && a.Name == r.Resource })
	switch {
	case i < 0 && err != nil: // some groups are unknown, perhaps this one
		return metav1.APIResource{}, err
	case i < 0:
		return metav1.APIResource{}, fmt.Errorf("%w: no resource %s is served", errImpossible, r.String())
	case !slices.Contains(all[i].Verbs, "list") || !slices.Contains(all[i].Verbs, "patch"):
		return metav1.APIResource{}, fmt.Errorf("%w: %s cannot be listed and patched", errImpossible, r.String())
	}
	return all[i], nil
}

// begin says that the migration runs, and up to which resource version. It is the same again after a restart.
func (c *controller) begin(ctx context.Context, m *migrationv1.StorageVersionMigration, gvr client.GVR) (until string, err error) {
	if until = m.Status.ResourceVersion; until == "" {
		l, err := c.client.List(ctx, gvr, "", metav1.ListOptions{Limit: 1})
		if err != nil {
			return "", fmt.Errorf("listing %s: %w", m.Spec.Resource.String(), err)
		}
		until = l.ResourceVersion
	}
	got, err := migrations.Modify(ctx, c.client, "", m.Name, func(m *migrationv1.StorageVersionMigration) bool {
		set := m.Status.ResourceVersion == ""
		if set {
			m.Status.ResourceVersion = until
		}
		return meta.SetStatusCondition(&m.Status.Conditions, condition(m, migrationv1.MigrationRunning, metav1.ConditionTrue, reasonRunning, "")) || set
	}, "status")
	if err != nil {
		return "", err
	}
	return got.Status.ResourceVersion, nil
}

// rewrite has an object stored again, if it has not been since the migration began. The patch names the object and its version alone: the
// server finds that nothing changes, and writes when what is stored is not what it would store today.
func (c *controller) rewrite(ctx context.Context, gvr client.GVR, obj client.Object, until string) error {
	if after, err := resourceversion.CompareResourceVersion(obj.GetResourceVersion(), until); err == nil && after > 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": obj.GetUID(), "resourceVersion": obj.GetResourceVersion()}})
	if err != nil {
		return err
	}
	_, err = c.client.Patch(ctx, gvr, obj.GetNamespace(), obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Name})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or written by another
		return nil
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		return fmt.Errorf("%w: %s %s/%s: %w", errImpossible, gvr.Resource, obj.GetNamespace(), obj.GetName(), err)
	default:
		return fmt.Errorf("rewriting %s %s/%s: %w", gvr.Resource, obj.GetNamespace(), obj.GetName(), err)
	}
}

// forget takes versions off the definition's list of those stored, if objects are stored as they were when the migration began.
func (c *controller) forget(ctx context.Context, before *apiextensionsv1.CustomResourceDefinition) error {
	now, err := definitions.Get(ctx, c.client, "", before.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	version := storageVersion(now)
	if now.UID != before.UID || version != storageVersion(before) {
		return fmt.Errorf("%w: the storage version of %s changed on the way", errImpossible, before.Name)
	}
	if slices.Equal(now.Status.StoredVersions, []string{version}) {
		return nil
	}
	patch := map[string]any{
		"metadata": map[string]any{"uid": now.UID, "resourceVersion": now.ResourceVersion},
		"status":   map[string]any{"storedVersions": []string{version}},
	}
	_, err = definitions.MergePatch(ctx, c.client, "", now.Name, patch, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func storageVersion(crd *apiextensionsv1.CustomResourceDefinition) string {
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

func (c *controller) end(ctx context.Context, m *migrationv1.StorageVersionMigration, how migrationv1.MigrationConditionType, reason, message string) error {
	_, err := migrations.Modify(ctx, c.client, "", m.Name, func(m *migrationv1.StorageVersionMigration) bool {
		if ended(m) {
			return false
		}
		meta.SetStatusCondition(&m.Status.Conditions, condition(m, migrationv1.MigrationRunning, metav1.ConditionFalse, reason, message))
		return meta.SetStatusCondition(&m.Status.Conditions, condition(m, how, metav1.ConditionTrue, reason, message))
	}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func condition(m *migrationv1.StorageVersionMigration, kind migrationv1.MigrationConditionType, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: string(kind), Status: status, ObservedGeneration: m.Generation, Reason: reason, Message: message}
}

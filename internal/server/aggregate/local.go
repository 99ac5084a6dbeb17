package aggregate

import (
	"context"
	"errors"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"hyperkube/internal/object"
	"hyperkube/internal/server/discovery"
)

const (
	// managedLabel is on the APIServices that the server keeps itself: "onstart" on those of built-in kinds, "true" on those of
	// custom resources.
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	onStart      = "onstart"
	followed     = "true"

	// everything is the key under which all local APIServices are looked at together.
	everything = ""
)

func managed(s *apiregistrationv1.APIService) string {
	if s.Spec.Service != nil {
		return ""
	}
	return s.Labels[managedLabel]
}

// keepLocal makes the APIServices of what this server serves, and removes those of custom resources that are gone. APIServices that
// somebody else has made under their names stay.
func (a *Aggregator) keepLocal(ctx context.Context, _ string) error {
	wanted := a.wanted()
	var errs []error
	for gv, label := range wanted {
		name := gv.Version + "." + gv.Group
		group, version := discovery.Priority(gv)
		spec := apiregistrationv1.APIServiceSpec{Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: group, VersionPriority: version}
		have, ok := a.services.Get("", name)
		switch {
		case !ok:
			_, err := apiServices.Create(ctx, a.cfg.API, &apiregistrationv1.APIService{
				ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{managedLabel: label}}, Spec: spec})
			if !apierrors.IsAlreadyExists(err) {
				errs = append(errs, err)
			}
		case managed(have) != "" && !sameSpec(&have.Spec, &spec):
			next := have.DeepCopy()
			next.Spec = spec
			_, err := apiServices.Update(ctx, a.cfg.API, next)
			errs = append(errs, err)
		}
	}
	for _, have := range a.services.List() {
		gv := schema.GroupVersion{Group: have.Spec.Group, Version: have.Spec.Version}
		if managed(have) != followed || wanted[gv] != "" {
			continue
		}
		err := a.cfg.API.Delete(ctx, apiServices.GVR, "", have.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))})
		if !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func sameSpec(a, b *apiregistrationv1.APIServiceSpec) bool {
	return a.Group == b.Group && a.Version == b.Version && a.GroupPriorityMinimum == b.GroupPriorityMinimum && a.VersionPriority == b.VersionPriority
}

// wanted are the group versions that this server serves, and the label of each.
func (a *Aggregator) wanted() map[schema.GroupVersion]string {
	all := map[schema.GroupVersion]string{}
	for _, k := range a.cfg.Table.All() {
		for i := range k.Versions {
			// The kind APIService itself is served by the aggregator, which has no APIService.
			if gv := k.Versions[i].GroupVersion; object.IsBuiltin(gv) && gv.Group != apiregistrationv1.GroupName {
				all[gv] = onStart
			}
		}
	}
	for _, c := range a.crds.List() {
		if !apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Established) {
			continue
		}
		for _, v := range c.Spec.Versions {
			if gv := (schema.GroupVersion{Group: c.Spec.Group, Version: v.Name}); v.Served && all[gv] == "" {
				all[gv] = followed
			}
		}
	}
	return all
}

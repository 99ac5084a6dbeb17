package apply

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"hyperkube/internal/object"
)

// scales is the row of Scale, which is never stored.
var scales = object.ScaleKind()

// Scale merges a patch of the size of an object into live, which tells its size. Whoever manages the replicas of the object manages those of
// live, and the other way round: the managers of the object are then those that come back. Conflicts are those of [Managers.Apply].
func (m *Managers) Scale(k *object.Kind, v *object.Version, managers []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale,
	patch *unstructured.Unstructured, manager string, force bool) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
	h := managedfields.NewScaleHandler(managers, v.GroupVersion, replicas(k))
	base := live.DeepCopy()
	var err error
	if base.ManagedFields, err = h.ToSubresource(); err != nil {
		return nil, nil, err
	}
	obj, err := m.Apply(scales, &scales.Versions[0], "scale", base, patch, manager, force)
	if err != nil {
		return nil, nil, err
	}
	out, ok := obj.(*autoscalingv1.Scale)
	if !ok {
		return nil, nil, fmt.Errorf("a Scale became a %T", obj)
	}
	managers, err = h.ToParent(out.ManagedFields)
	return out, managers, err
}

// OfScale gives the managers of the size of an object, whose managers these are.
func (m *Managers) OfScale(k *object.Kind, v *object.Version, managers []metav1.ManagedFieldsEntry) ([]metav1.ManagedFieldsEntry, error) {
	return managedfields.NewScaleHandler(managers, v.GroupVersion, replicas(k)).ToSubresource()
}

// replicas is where each version of a kind keeps how many it wants.
func replicas(k *object.Kind) managedfields.ResourcePathMappings {
	path := fieldpath.MakePathOrDie("spec", "replicas")
	if k.Scale != nil {
		path = nil
		for _, name := range k.Scale.SpecReplicas {
			path = append(path, fieldpath.PathElement{FieldName: &name})
		}
	}
	out := managedfields.ResourcePathMappings{}
	for i := range k.Versions {
		out[k.Versions[i].GroupVersion.String()] = path
	}
	return out
}

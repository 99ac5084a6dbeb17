package object

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func statefulSetKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.StatefulSet, appsv1.StatefulSetList](appsv1.SchemeGroupVersion, "StatefulSet")},
		Resource:      "statefulsets",
		Singular:      "statefulset",
		ShortNames:    []string{"sts"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "statefulsets",
		Strategy: rules[*appsv1.StatefulSet]{
			Default: defaultStatefulSet,
			PrepareCreate: func(s *appsv1.StatefulSet) {
				s.Status = appsv1.StatefulSetStatus{}
				firstGeneration(s)
			},
			PrepareUpdate: func(s, old *appsv1.StatefulSet) {
				s.Status = *old.Status.DeepCopy()
				nextGeneration(s, old, s.Spec, old.Spec)
			},
			Validate:       validateStatefulSet,
			ValidateCreate: validateNewStatefulSet,
			ValidateUpdate: validateStatefulSetUpdate,
			Warnings:       statefulSetWarnings,
			// Names of its pods are made of its own, and are host names.
		}.full(Namespaced, nameIsLabel),
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.StatefulSet]{
				PrepareUpdate:  func(s, old *appsv1.StatefulSet) { s.Spec = *old.Spec.DeepCopy() },
				ValidateUpdate: validateStatefulSetStatus,
			}),
		},
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Ready", "string", "Number of the pod with ready state"),
			ageColumn(),
		}, workloadColumns("")[:2]...),
		Cells: cells(func(s *appsv1.StatefulSet, now time.Time) []any {
			names, images := namesAndImages(s.Spec.Template.Spec.Containers)
			return []any{s.Name, fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, deref(s.Spec.Replicas, 1)), age(s, now), names, images}
		}),
	}
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	spec := &s.Spec
	podspec.DefaultTemplate(&spec.Template.Spec)
	setDefault(&spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	setDefaultPtr(&spec.Replicas, 1)
	setDefaultPtr(&spec.RevisionHistoryLimit, 10)
	if spec.UpdateStrategy.Type == "" {
		spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		setDefaultPtr(&spec.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && spec.UpdateStrategy.RollingUpdate != nil {
		setDefaultPtr(&spec.UpdateStrategy.RollingUpdate.Partition, 0)
		setDefaultPtr(&spec.UpdateStrategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
	}
	setDefaultPtr(&spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	setDefault(&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setDefault(&spec.PersistentVolumeClaimRetentionPolicy.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	for i := range spec.VolumeClaimTemplates {
		c := &spec.VolumeClaimTemplates[i]
		// Protobuf does not carry the kind of a nested object, so it is always filled in.
		c.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
		setDefault(&c.Status.Phase, corev1.ClaimPending)
		podspec.DefaultClaim(&c.Spec)
	}
}

func validateStatefulSet(s *appsv1.StatefulSet) field.ErrorList {
	spec := &s.Spec
	var errs field.ErrorList
	switch spec.PodManagementPolicy {
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		errs = append(errs, field.Invalid(specPath.Child("podManagementPolicy"), spec.PodManagementPolicy, "must be 'OrderedReady' or 'Parallel'"))
	}
	errs = append(errs, nonNegative(num(specPath.Child("replicas"), spec.Replicas),
		number{specPath.Child("minReadySeconds"), int64(spec.MinReadySeconds)})...)
	errs = append(errs, validateStatefulSetStrategy(&spec.UpdateStrategy, specPath.Child("updateStrategy"))...)
	if p := spec.PersistentVolumeClaimRetentionPolicy; p != nil {
		at := specPath.Child("persistentVolumeClaimRetentionPolicy")
		for name, v := range inOrder(named("whenDeleted", p.WhenDeleted), named("whenScaled", p.WhenScaled)) {
			errs = append(errs, oneOf(at.Child(name), v,
				appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType)...)
		}
	}
	if o := spec.Ordinals; o != nil {
		errs = append(errs, nonNegative(number{specPath.Child("ordinals", "start"), int64(o.Start)})...)
	}
	errs = append(errs, validateSelector(spec.Selector, &spec.Template, "statefulset")...)
	return append(errs, validateRunningTemplate(asItsPods(spec), "StatefulSet")...)
}

// validateNewStatefulSet judges what may not change later.
func validateNewStatefulSet(s *appsv1.StatefulSet) field.ErrorList {
	var errs field.ErrorList
	if name := s.Spec.ServiceName; name != "" {
		errs = append(errs, check(specPath.Child("serviceName"), name, validation.IsDNS1123Label(name))...)
	}
	for i := range s.Spec.VolumeClaimTemplates {
		at := specPath.Child("volumeClaimTemplates").Index(i).Child("spec")
		errs = append(errs, podspec.ValidateClaimSpec(&s.Spec.VolumeClaimTemplates[i].Spec, at)...)
	}
	return errs
}

func statefulSetWarnings(s, old *appsv1.StatefulSet) []string {
	if old != nil && s.Generation == old.Generation {
		return nil
	}
	out := templateWarnings(s, old, &s.Spec.Template, specPath.Child("template"))
	for i := range s.Spec.VolumeClaimTemplates {
		at := specPath.Child("volumeClaimTemplates").Index(i)
		out = append(out, podspec.ClaimWarnings(&s.Spec.VolumeClaimTemplates[i].Spec, at)...)
	}
	if n := s.Spec.RevisionHistoryLimit; n != nil && *n < 0 {
		out = append(out, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
	}
	return out
}

// asItsPods is the template with what the pods will have: a volume for each claim template, and names of the set's own making.
func asItsPods(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	t := spec.Template
	t.Spec.Hostname, t.Spec.Subdomain = "", ""
	if len(spec.VolumeClaimTemplates) == 0 {
		return &t
	}
	claims := map[string]bool{}
	t.Spec.Volumes = nil
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		if claims[name] {
			continue
		}
		claims[name] = true
		t.Spec.Volumes = append(t.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
	}
	for i := range spec.Template.Spec.Volumes {
		if !claims[spec.Template.Spec.Volumes[i].Name] {
			t.Spec.Volumes = append(t.Spec.Volumes, spec.Template.Spec.Volumes[i])
		}
	}
	return &t
}

func validateStatefulSetStrategy(s *appsv1.StatefulSetUpdateStrategy, at *field.Path) field.ErrorList {
	p, r := at.Child("rollingUpdate"), s.RollingUpdate
	switch s.Type {
	case appsv1.OnDeleteStatefulSetStrategyType:
		if r != nil {
			return field.ErrorList{field.Invalid(p, goform.Of(r), "only allowed for updateStrategy 'RollingUpdate'")}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
	case "":
		return field.ErrorList{field.Required(at, "")}
	default:
		return field.ErrorList{field.Invalid(at, goform.Of(s), "must be 'RollingUpdate' or 'OnDelete'")}
	}
	if r == nil {
		return nil
	}
	errs := nonNegative(num(p.Child("partition"), r.Partition))
	if m := r.MaxUnavailable; m != nil {
		errs = append(errs, intOrPercent(m, p.Child("maxUnavailable"))...)
		errs = append(errs, atMost100Percent(m, p.Child("maxUnavailable"))...)
		if isZero(m) {
			errs = append(errs, field.Invalid(p.Child("maxUnavailable"), m, "cannot be 0"))
		}
	}
	return errs
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	next, o := &s.Spec, &old.Spec
	errs := immutable(next.Selector, o.Selector, specPath.Child("selector"))
	errs = append(errs, immutableWhole(bareClaims(next.VolumeClaimTemplates), bareClaims(o.VolumeClaimTemplates),
		specPath.Child("volumeClaimTemplates"))...)
	errs = append(errs, immutable(next.ServiceName, o.ServiceName, specPath.Child("serviceName"))...)
	return append(errs, immutable(next.PodManagementPolicy, o.PodManagementPolicy, specPath.Child("podManagementPolicy"))...)
}

// bareClaims are claims without their kind, which clients may send and leave out.
func bareClaims(claims []corev1.PersistentVolumeClaim) []corev1.PersistentVolumeClaim {
	out := slices.Clone(claims)
	for i := range out {
		out[i].TypeMeta = metav1.TypeMeta{}
	}
	return out
}

func validateStatefulSetStatus(s, old *appsv1.StatefulSet) field.ErrorList {
	st := &s.Status
	errs := counts(st.Replicas, count{"readyReplicas", st.ReadyReplicas}, count{"currentReplicas", st.CurrentReplicas},
		count{"updatedReplicas", st.UpdatedReplicas}, count{"availableReplicas", st.AvailableReplicas})
	if st.AvailableReplicas > st.ReadyReplicas {
		errs = append(errs, field.Invalid(statusPath.Child("availableReplicas"), st.AvailableReplicas, "cannot be greater than status.readyReplicas"))
	}
	errs = append(errs, nonNegative(number{statusPath.Child("observedGeneration"), st.ObservedGeneration},
		num(statusPath.Child("collisionCount"), st.CollisionCount))...)
	if deref(st.CollisionCount, 0) < deref(old.Status.CollisionCount, 0) {
		errs = append(errs, field.Invalid(statusPath.Child("collisionCount"), deref(st.CollisionCount, 0), "cannot be decremented"))
	}
	return errs
}

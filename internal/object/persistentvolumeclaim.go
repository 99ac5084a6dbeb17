package object

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

type pvc = corev1.PersistentVolumeClaim

func persistentVolumeClaimKind() *Kind {
	spec, status := doc(corev1.PersistentVolumeClaimSpec{}.SwaggerDoc()), doc(corev1.PersistentVolumeClaimStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[pvc, corev1.PersistentVolumeClaimList](corev1.SchemeGroupVersion, "PersistentVolumeClaim")},
		Resource:      "persistentvolumeclaims",
		Singular:      "persistentvolumeclaim",
		ShortNames:    []string{"pvc"},
		Scope:         Namespaced,
		StoragePrefix: "persistentvolumeclaims",
		Strategy: rules[*pvc]{
			Default: func(p *pvc) {
				setDefault(&p.Status.Phase, corev1.ClaimPending)
				podspec.DefaultClaim(&p.Spec)
			},
			PrepareCreate: func(p *pvc) {
				p.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
				podspec.PrepareClaim(&p.Spec, nil)
			},
			PrepareUpdate: func(p, old *pvc) {
				p.Status = *old.Status.DeepCopy()
				podspec.PrepareClaim(&p.Spec, &old.Spec)
			},
			Validate:       func(p *pvc) field.ErrorList { return podspec.ValidateClaimSpec(&p.Spec, specPath) },
			ValidateUpdate: validateClaimUpdate,
			Warnings:       claimWarnings,
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*pvc]{
			PrepareUpdate:  func(p, old *pvc) { p.Spec, p.Status.HealthStatus = *old.Spec.DeepCopy(), nil },
			ValidateUpdate: func(p, _ *pvc) field.ErrorList { return validateVolumeClaimStatus(&p.Status) },
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Status", "string", status["phase"]),
			column("Volume", "string", spec["volumeName"]),
			column("Capacity", "string", status["capacity"]),
			column("Access Modes", "string", status["accessModes"]),
			column("StorageClass", "string", "StorageClass of the pvc"),
			column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
			ageColumn(),
			wide("VolumeMode", "string", spec["volumeMode"]),
		},
		Cells: cells(claimCells),
	}
}

func claimCells(p *pvc, now time.Time) []any {
	phase := string(p.Status.Phase)
	if p.DeletionTimestamp != nil {
		phase = "Terminating"
	}
	capacity, modes := "", ""
	if p.Spec.VolumeName != "" {
		modes = accessModes(p.Status.AccessModes)
		size := p.Status.Capacity[corev1.ResourceStorage]
		capacity = size.String()
	}
	class := deref(p.Spec.StorageClassName, "")
	if c, ok := p.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		class = c
	}
	return []any{
		p.Name, phase, p.Spec.VolumeName, capacity, modes, class, deref(p.Spec.VolumeAttributesClassName, "<unset>"),
		age(p, now), volumeModeText(p.Spec.VolumeMode),
	}
}

func claimWarnings(p, old *pvc) []string {
	if old != nil {
		return nil
	}
	var out []string
	if _, there := p.Annotations[corev1.BetaStorageClassAnnotation]; there {
		out = append(out, metadataPath.Child("annotations").Key(corev1.BetaStorageClassAnnotation).String()+
			`: deprecated since v1.8; use "storageClassName" attribute instead`)
	}
	return append(out, podspec.ClaimWarnings(&p.Spec, specPath)...)
}

// validateClaimUpdate: once made, a claim may only be bound, and then grow and change its volume attributes class.
func validateClaimUpdate(p, old *pvc) field.ErrorList {
	var errs field.ErrorList
	next := p.Spec.DeepCopy()
	if old.Spec.VolumeName == "" {
		next.VolumeName = ""
	}
	// The class of a claim without one may be set later (KEP-3333).
	if old.Spec.StorageClassName == nil {
		next.StorageClassName = nil
	}
	if old.Status.Phase == corev1.ClaimBound {
		next.Resources.Requests = old.Spec.Resources.Requests
		next.VolumeAttributesClassName = old.Spec.VolumeAttributesClassName
	}
	if !apiequality.Semantic.DeepEqual(*next, old.Spec) {
		errs = append(errs, field.Forbidden(specPath,
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+diff.Diff(*next, old.Spec)))
	}
	size, before := p.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	if had := old.Status.Capacity[corev1.ResourceStorage]; size.Cmp(before) < 0 && size.Cmp(had) <= 0 {
		errs = append(errs, field.Forbidden(specPath.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, immutable(p.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	errs = append(errs, keptAttributes(p, old)...)
	if class, before := p.Annotations[corev1.BetaStorageClassAnnotation], old.Annotations[corev1.BetaStorageClassAnnotation]; class != before {
		errs = append(errs, field.Invalid(metadataPath.Child("annotations", corev1.BetaStorageClassAnnotation), class, apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}

// keptAttributes: a volume that has got attributes of a class keeps them until it gets those of another (KEP-3751).
func keptAttributes(p, old *pvc) field.ErrorList {
	class, before := p.Spec.VolumeAttributesClassName, old.Spec.VolumeAttributesClassName
	if old.Status.CurrentVolumeAttributesClassName == nil || apiequality.Semantic.DeepEqual(class, before) || deref(class, "") != "" {
		return nil
	}
	to := "nil"
	if class != nil {
		to = "empty string"
	}
	return field.ErrorList{field.Forbidden(specPath.Child("volumeAttributesClassName"),
		fmt.Sprintf("update to %s is forbidden when status.currentVolumeAttributesClassName is not nil", to))}
}

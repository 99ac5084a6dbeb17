package object

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func persistentVolumeKind() *Kind {
	spec, status := doc(corev1.PersistentVolumeSpec{}.SwaggerDoc()), doc(corev1.PersistentVolumeStatus{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[corev1.PersistentVolume, corev1.PersistentVolumeList](
			corev1.SchemeGroupVersion, "PersistentVolume")},
		Resource:      "persistentvolumes",
		Singular:      "persistentvolume",
		ShortNames:    []string{"pv"},
		Scope:         Cluster,
		StoragePrefix: "persistentvolumes",
		Strategy: rules[*corev1.PersistentVolume]{
			Default: defaultPersistentVolume,
			PrepareCreate: func(p *corev1.PersistentVolume) {
				since := p.CreationTimestamp
				p.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending, LastPhaseTransitionTime: &since}
			},
			PrepareUpdate: func(p, old *corev1.PersistentVolume) { p.Status = *old.Status.DeepCopy() },
			Validate:      validatePersistentVolume,
			ValidateCreate: func(p *corev1.PersistentVolume) field.ErrorList {
				return podspec.ValidateNewNodeValues(requiredVolumeNodes(p), nil, specPath.Child("nodeAffinity", "required"))
			},
			ValidateUpdate: validatePersistentVolumeUpdate,
			Warnings:       persistentVolumeWarnings,
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*corev1.PersistentVolume]{
			PrepareUpdate: func(p, old *corev1.PersistentVolume) {
				p.Spec = *old.Spec.DeepCopy()
				notePhase(p, old)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Capacity", "string", spec["capacity"]),
			column("Access Modes", "string", spec["accessModes"]),
			column("Reclaim Policy", "string", spec["persistentVolumeReclaimPolicy"]),
			column("Status", "string", status["phase"]),
			column("Claim", "string", spec["claimRef"]),
			column("StorageClass", "string", "StorageClass of the pv"),
			column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
			column("Reason", "string", status["reason"]),
			ageColumn(),
			wide("VolumeMode", "string", spec["volumeMode"]),
		},
		Cells: cells(func(p *corev1.PersistentVolume, now time.Time) []any {
			claim := ""
			if c := p.Spec.ClaimRef; c != nil {
				claim = c.Namespace + "/" + c.Name
			}
			phase := string(p.Status.Phase)
			if p.DeletionTimestamp != nil {
				phase = "Terminating"
			}
			size := p.Spec.Capacity[corev1.ResourceStorage]
			class := p.Spec.StorageClassName
			if c, ok := p.Annotations[corev1.BetaStorageClassAnnotation]; ok {
				class = c
			}
			return []any{
				p.Name, size.String(), accessModes(p.Spec.AccessModes), string(p.Spec.PersistentVolumeReclaimPolicy), phase, claim, class,
				deref(p.Spec.VolumeAttributesClassName, "<unset>"), p.Status.Reason, age(p, now), volumeModeText(p.Spec.VolumeMode),
			}
		}),
	}
}

func volumeModeText(m *corev1.PersistentVolumeMode) string {
	if m == nil {
		return "<unset>"
	}
	return string(*m)
}

func defaultPersistentVolume(p *corev1.PersistentVolume) {
	setDefault(&p.Status.Phase, corev1.VolumePending)
	setDefault(&p.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	setDefaultPtr(&p.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	podspec.RoundUp(p.Spec.Capacity)
	s := &p.Spec.PersistentVolumeSource
	if s.HostPath != nil {
		setDefaultPtr(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.AzureDisk != nil {
		podspec.DefaultAzureDisk(s.AzureDisk)
	}
	if s.ISCSI != nil {
		setDefault(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		setDefault(&s.RBD.RBDPool, "rbd")
		setDefault(&s.RBD.RadosUser, "admin")
		setDefault(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.ScaleIO != nil {
		setDefault(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setDefault(&s.ScaleIO.FSType, "xfs")
	}
}

func validatePersistentVolume(p *corev1.PersistentVolume) field.ErrorList {
	s := &p.Spec
	var errs field.ErrorList
	if p.Annotations[mountOptionsAnnotation] != "" && !takesMountOptions(&s.PersistentVolumeSource) {
		errs = append(errs, field.Forbidden(metadataPath.Child("annotations", mountOptionsAnnotation),
			"may not specify mount options for this volume type"))
	}
	errs = append(errs, podspec.ValidateAccessModes(s.AccessModes, specPath.Child("accessModes"), "")...)
	at := specPath.Child("capacity")
	if len(s.Capacity) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	if _, ok := s.Capacity[corev1.ResourceStorage]; !ok || len(s.Capacity) > 1 {
		errs = append(errs, field.NotSupported(at, s.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Capacity)) {
		q, p := s.Capacity[name], at.Key(string(name))
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(p, q.Value(), "must be a valid resource quantity"))
		}
		if q.Sign() <= 0 {
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than zero"))
		}
	}
	errs = append(errs, oneOf(specPath.Child("persistentVolumeReclaimPolicy"), s.PersistentVolumeReclaimPolicy,
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)...)
	errs = append(errs, podspec.ValidatePersistentSource(&s.PersistentVolumeSource, specPath)...)
	if s.HostPath != nil && s.HostPath.Path == "/" && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(specPath.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"))
	}
	if s.StorageClassName != "" {
		errs = append(errs, check(specPath.Child("storageClassName"), s.StorageClassName, nameIsSubdomain(s.StorageClassName, false))...)
	}
	if m := s.VolumeMode; m != nil {
		errs = append(errs, oneOf(specPath.Child("volumeMode"), *m, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if a := s.NodeAffinity; a != nil {
		q := specPath.Child("nodeAffinity", "required")
		if a.Required == nil {
			errs = append(errs, field.Required(q, "must specify required node constraints"))
		} else {
			errs = append(errs, podspec.ValidateNodeSelector(a.Required, q)...)
		}
	} else if s.Local != nil {
		errs = append(errs, field.Required(specPath.Child("nodeAffinity"), "Local volume requires node affinity"))
	}
	if c := s.VolumeAttributesClassName; c != nil {
		q := specPath.Child("volumeAttributesClassName")
		if *c == "" {
			errs = append(errs, field.Required(q, "an empty string is disallowed"))
		} else {
			errs = append(errs, check(q, *c, nameIsSubdomain(*c, false))...)
		}
		if s.CSI == nil {
			errs = append(errs, field.Required(specPath.Child("csi"), "has to be specified when using volumeAttributesClassName"))
		}
	}
	return errs
}

// notePhase says when the phase changed, unless the writer does (KEP-3762).
func notePhase(p, old *corev1.PersistentVolume) {
	s := &p.Status
	if s.Phase == old.Status.Phase && s.LastPhaseTransitionTime == nil {
		s.LastPhaseTransitionTime = old.Status.LastPhaseTransitionTime
	}
	if s.Phase != old.Status.Phase && (s.LastPhaseTransitionTime == nil || s.LastPhaseTransitionTime.Equal(old.Status.LastPhaseTransitionTime)) {
		now := metav1.Now()
		s.LastPhaseTransitionTime = &now
	}
}

func requiredVolumeNodes(p *corev1.PersistentVolume) *corev1.NodeSelector {
	if p.Spec.NodeAffinity == nil {
		return nil
	}
	return p.Spec.NodeAffinity.Required
}

func validatePersistentVolumeUpdate(p, old *corev1.PersistentVolume) field.ErrorList {
	errs := podspec.ValidateNewNodeValues(requiredVolumeNodes(p), requiredVolumeNodes(old), specPath.Child("nodeAffinity", "required"))
	source, before := p.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource
	if source.CSI != nil && before.CSI != nil {
		// Secrets of resizing may be added later.
		c := *source.CSI
		if before.CSI.ControllerExpandSecretRef == nil {
			c.ControllerExpandSecretRef = nil
		}
		if before.CSI.NodeExpandSecretRef == nil {
			c.NodeExpandSecretRef = nil
		}
		source.CSI = &c
	}
	if !apiequality.Semantic.DeepEqual(source, before) {
		errs = append(errs, field.Forbidden(specPath.Child("persistentvolumesource"),
			"spec.persistentvolumesource is immutable after creation\n"+diff.Diff(source, before)))
	}
	errs = append(errs, immutable(p.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil && !sameNodes(p.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), goform.Of(p.Spec.NodeAffinity),
			"field is immutable, except for updating from beta label to GA"))
	}
	if old.Spec.VolumeAttributesClassName != nil && p.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(specPath.Child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// sameNodes: labels of nodes may be called by the names that they have now.
func sameNodes(a, old *corev1.VolumeNodeAffinity) bool {
	if apiequality.Semantic.DeepEqual(a, old) {
		return true
	}
	if a == nil || a.Required == nil || old.Required == nil || len(a.Required.NodeSelectorTerms) != len(old.Required.NodeSelectorTerms) {
		return false
	}
	next := a.DeepCopy()
	for i := range next.Required.NodeSelectorTerms {
		list, before := next.Required.NodeSelectorTerms[i].MatchExpressions, old.Required.NodeSelectorTerms[i].MatchExpressions
		if len(list) != len(before) {
			return false
		}
		for k := range list {
			if list[k].Key == podspec.RenamedLabel(before[k].Key) {
				list[k].Key = before[k].Key
			}
		}
	}
	return apiequality.Semantic.DeepEqual(next, old)
}

// mountOptionsAnnotation is what spec.mountOptions was before it was a field.
const mountOptionsAnnotation = "volume.beta.kubernetes.io/mount-options"

// takesMountOptions says whether an annotation may tell how a volume is mounted.
func takesMountOptions(s *corev1.PersistentVolumeSource) bool {
	return s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil || s.ISCSI != nil ||
		s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil || s.VsphereVolume != nil || s.AzureDisk != nil || s.Quobyte != nil ||
		s.StorageOS != nil
}

func persistentVolumeWarnings(p, _ *corev1.PersistentVolume) []string {
	var out []string
	if _, there := p.Annotations[corev1.BetaStorageClassAnnotation]; there {
		out = append(out, metadataPath.Child("annotations").Key(corev1.BetaStorageClassAnnotation).String()+
			`: deprecated since v1.8; use "storageClassName" attribute instead`)
	}
	if p.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		out = append(out, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "+
			"Instead, the recommended approach is to use dynamic provisioning.")
	}
	if a := p.Spec.NodeAffinity; a != nil && a.Required != nil {
		out = append(out, podspec.NodeSelectorWarnings(a.Required, specPath.Child("nodeAffinity", "required"))...)
	}
	return out
}

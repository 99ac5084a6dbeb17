package podspec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// Annotations that clients set before there were fields: the profiles of AppArmor and of seccomp, and tolerations.
const (
	seccompPod       = corev1.SeccompPodAnnotationKey
	seccompContainer = corev1.SeccompContainerAnnotationKeyPrefix
	appArmor         = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	oldTolerations   = "scheduler.alpha.kubernetes.io/tolerations"
)

// ValidateAnnotations judges the annotations of a pod or template that have a meaning.
func ValidateAnnotations(annotations map[string]string, spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	var out errs
	if v, mirror := annotations[corev1.MirrorPodAnnotationKey]; mirror && spec.NodeName == "" {
		out = append(out, field.Invalid(at.Key(corev1.MirrorPodAnnotationKey), v, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if v := annotations[oldTolerations]; v != "" {
		var list []corev1.Toleration
		if err := json.Unmarshal([]byte(v), &list); err != nil {
			out = append(out, field.Invalid(at, oldTolerations, err.Error()))
		} else {
			out = append(out, ValidateTolerations(list, at.Child(oldTolerations))...)
		}
	}
	if v, there := annotations[corev1.PodDeletionCost]; there && !validCost(v) {
		out = append(out, field.Invalid(at.Key(corev1.PodDeletionCost), v, "must be a 32bit integer"))
	}
	out = append(out, validateSeccompAnnotations(annotations, at)...)
	return append(out, validateAppArmorAnnotations(annotations, spec, at)...)
}

// validCost wants a number written as a machine would: no plus sign, no leading zeros.
func validCost(v string) bool {
	digits := strings.TrimPrefix(v, "-")
	if strings.HasPrefix(digits, "+") || len(digits) > 1 && digits[0] == '0' {
		return false
	}
	_, err := strconv.ParseInt(v, 10, 32)
	return err == nil
}

func validateSeccompAnnotations(annotations map[string]string, at *field.Path) errs {
	var out errs
	judge := func(key string) {
		p := at.Child(key)
		switch path, local := strings.CutPrefix(annotations[key], corev1.SeccompLocalhostProfileNamePrefix); {
		case local:
			out = append(out, relativePath(p, path)...)
		case seccompOf(annotations[key]) == nil:
			out = append(out, field.Invalid(p, annotations[key], "must be a valid seccomp profile"))
		}
	}
	if _, there := annotations[seccompPod]; there {
		judge(seccompPod)
	}
	for _, key := range keysWith(annotations, seccompContainer) {
		judge(key)
	}
	return out
}

func validateAppArmorAnnotations(annotations map[string]string, spec *corev1.PodSpec, at *field.Path) errs {
	keys := keysWith(annotations, appArmor)
	if len(keys) == 0 {
		return nil
	}
	names := sets.Set[string]{}
	eachContainer(spec, nil, func(c *corev1.Container, _ *field.Path) { names.Insert(c.Name) })
	var out errs
	for _, key := range keys {
		if name := strings.TrimPrefix(key, appArmor); !names.Has(name) {
			out = append(out, field.Invalid(at.Key(key), name, "container not found"))
		} else if v := annotations[key]; v != "" && appArmorOf(v) == nil {
			out = append(out, field.Invalid(at.Key(key), v, fmt.Sprintf("invalid AppArmor profile name: %q", v)))
		}
	}
	return out
}

// ValidateProfiles wants annotations and fields that name profiles to name the same ones. at is the specification's path.
func ValidateProfiles(annotations map[string]string, spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	if len(annotations) == 0 || spec.OS != nil && spec.OS.Name == corev1.Windows {
		return nil
	}
	var out errs
	pod := ptr.Deref(spec.SecurityContext, corev1.PodSecurityContext{})
	seccomp := func(key string, p *corev1.SeccompProfile, at *field.Path) {
		said := seccompOf(annotations[key])
		if said != nil && p != nil {
			out = append(out, sameProfile("seccomp", said.Type, p.Type, said.LocalhostProfile, p.LocalhostProfile, at.Child("securityContext", "seccompProfile"))...)
		}
	}
	seccomp(seccompPod, pod.SeccompProfile, at)
	eachContainer(spec, at, func(c *corev1.Container, at *field.Path) {
		if c.SecurityContext != nil {
			seccomp(seccompContainer+c.Name, c.SecurityContext.SeccompProfile, at)
		}
	})
	own := *spec
	own.EphemeralContainers = nil // they came after the annotation
	eachContainer(&own, at, func(c *corev1.Container, at *field.Path) {
		v, there := annotations[appArmor+c.Name]
		p := appArmorFor(spec, c)
		if !there || p == nil {
			return
		}
		said := ptr.Deref(appArmorOf(v), corev1.AppArmorProfile{})
		out = append(out, sameProfile("apparmor", said.Type, p.Type, said.LocalhostProfile, p.LocalhostProfile, at.Child("securityContext", "appArmorProfile"))...)
	})
	return out
}

func sameProfile[T comparable](kind string, said, set T, saidLocal, setLocal *string, at *field.Path) errs {
	if said != set {
		return errs{field.Forbidden(at.Child("type"), kind+" type in annotation and field must match")}
	}
	if ptr.Deref(saidLocal, "") != ptr.Deref(setLocal, "") {
		return errs{field.Forbidden(at.Child("localhostProfile"), kind+" profile in annotation and field must match")}
	}
	return nil
}

// ApplyAppArmor gives the containers of a new pod the profiles that its annotations name, where no field does.
func ApplyAppArmor(annotations map[string]string, spec *corev1.PodSpec) {
	if len(annotations) == 0 || spec.OS != nil && spec.OS.Name == corev1.Windows {
		return
	}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			c := &list[i]
			p := appArmorOf(annotations[appArmor+c.Name])
			if p == nil || appArmorFor(spec, c) != nil {
				continue
			}
			if c.SecurityContext == nil {
				c.SecurityContext = &corev1.SecurityContext{}
			}
			c.SecurityContext.AppArmorProfile = p
		}
	}
}

// appArmorFor is the profile that the fields give a container.
func appArmorFor(spec *corev1.PodSpec, c *corev1.Container) *corev1.AppArmorProfile {
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		return c.SecurityContext.AppArmorProfile
	}
	if spec.SecurityContext != nil {
		return spec.SecurityContext.AppArmorProfile
	}
	return nil
}

// seccompOf is what an annotation's value stands for; nil: nothing.
func seccompOf(value string) *corev1.SeccompProfile {
	switch path, local := strings.CutPrefix(value, corev1.SeccompLocalhostProfileNamePrefix); {
	case local:
		return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &path}
	case value == corev1.SeccompProfileNameUnconfined:
		return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	case value == corev1.SeccompProfileRuntimeDefault, value == corev1.DeprecatedSeccompProfileDockerDefault:
		return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	return nil
}

// appArmorOf is what an annotation's value stands for; nil: nothing.
func appArmorOf(value string) *corev1.AppArmorProfile {
	switch name, local := strings.CutPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix); {
	case local:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	case value == corev1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	case value == corev1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	}
	return nil
}

func keysWith(m map[string]string, prefix string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	return out
}

// profileWarnings tells of annotations that fields have taken the place of.
func profileWarnings(annotations map[string]string, at *field.Path) []string {
	var out []string
	for _, key := range keysWith(annotations, appArmor) {
		out = append(out, at.Key(key).String()+`: deprecated since v1.30; use the "appArmorProfile" field instead`)
	}
	for _, key := range append(keysWith(annotations, seccompPod), keysWith(annotations, seccompContainer)...) {
		out = append(out, at.Key(key).String()+`: non-functional in v1.27+; use the "seccompProfile" field instead`)
	}
	return out
}

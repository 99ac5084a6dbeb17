package podspec

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object/goform"
)

const (
	sysctlSegment   = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
	sysctlPattern   = "^(" + sysctlSegment + "[\\./])*" + sysctlSegment + "$"
	sysctlMaxLength = 253
)

var sysctlName = regexp.MustCompile(sysctlPattern)

func userIDs(at *field.Path, user, group *int64) errs {
	var out errs
	if user != nil {
		out = append(out, invalid(at.Child("runAsUser"), *user, validation.IsValidUserID(*user))...)
	}
	if group != nil {
		out = append(out, invalid(at.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))...)
	}
	return out
}

func validateSecurityContext(sc *corev1.SecurityContext, spec *corev1.PodSpec, at *field.Path) errs {
	if sc == nil {
		return nil
	}
	out := userIDs(at, sc.RunAsUser, sc.RunAsGroup)
	if m := sc.ProcMount; m != nil {
		out = append(out, oneOf(at.Child("procMount"), *m, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if *m == corev1.UnmaskedProcMount && ptr.Deref(spec.HostUsers, true) {
			out = append(out, field.Invalid(at.Child("procMount"), *m, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	out = append(out, validateSeccomp(sc.SeccompProfile, at.Child("seccompProfile"))...)
	if a := sc.AllowPrivilegeEscalation; a != nil && !*a {
		if ptr.Deref(sc.Privileged, false) {
			out = append(out, field.Invalid(at, goform.Of(sc), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if sc.Capabilities != nil {
			for _, c := range sc.Capabilities.Add {
				if c == "CAP_SYS_ADMIN" {
					out = append(out, field.Invalid(at, goform.Of(sc), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
				}
			}
		}
	}
	out = append(out, validateWindowsOptions(sc.WindowsOptions, at.Child("windowsOptions"))...)
	return append(out, validateAppArmor(sc.AppArmorProfile, at.Child("appArmorProfile"))...)
}

func validatePodSecurityContext(spec *corev1.PodSpec, at *field.Path) errs {
	sc := spec.SecurityContext
	if sc == nil {
		return nil
	}
	var out errs
	if sc.FSGroup != nil {
		out = append(out, invalid(at.Child("fsGroup"), *sc.FSGroup, validation.IsValidGroupID(*sc.FSGroup))...)
	}
	out = append(out, userIDs(at, sc.RunAsUser, sc.RunAsGroup)...)
	for i, g := range sc.SupplementalGroups {
		out = append(out, invalid(at.Child("supplementalGroups").Index(i), g, validation.IsValidGroupID(g))...)
	}
	out = append(out, validateSysctls(sc.Sysctls, spec, at.Child("sysctls"))...)
	if p := sc.FSGroupChangePolicy; p != nil {
		out = append(out, oneOf(at.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	out = append(out, validateSeccomp(sc.SeccompProfile, at.Child("seccompProfile"))...)
	out = append(out, validateWindowsOptions(sc.WindowsOptions, at.Child("windowsOptions"))...)
	out = append(out, validateAppArmor(sc.AppArmorProfile, at.Child("appArmorProfile"))...)
	if p := sc.SupplementalGroupsPolicy; p != nil {
		out = append(out, oneOf(at.Child("supplementalGroupsPolicy"), *p,
			corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	}
	if p := sc.SELinuxChangePolicy; p != nil {
		out = append(out, oneOf(at.Child("seLinuxChangePolicy"), *p, corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)...)
	}
	return out
}

func profileType[T ~string](at *field.Path, profile string, value T, allowed ...T) errs {
	if value == "" {
		return errs{field.Required(at, "type is required when "+profile+" is set")}
	}
	return oneOf(at, value, allowed...)
}

func validateSeccomp(p *corev1.SeccompProfile, at *field.Path) errs {
	if p == nil {
		return nil
	}
	out := profileType(at.Child("type"), "seccompProfile", p.Type,
		corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	local := p.Type == corev1.SeccompProfileTypeLocalhost
	switch q := at.Child("localhostProfile"); {
	case local && p.LocalhostProfile == nil:
		out = append(out, field.Required(q, "must be set when seccomp type is Localhost"))
	case local:
		out = append(out, relativePath(q, *p.LocalhostProfile)...)
	case p.LocalhostProfile != nil:
		out = append(out, field.Invalid(q, goform.Of(p), "can only be set when seccomp type is Localhost"))
	}
	return out
}

func validateAppArmor(p *corev1.AppArmorProfile, at *field.Path) errs {
	if p == nil {
		return nil
	}
	out := profileType(at.Child("type"), "appArmorProfile", p.Type,
		corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
	local := p.Type == corev1.AppArmorProfileTypeLocalhost
	name := strings.TrimSpace(ptr.Deref(p.LocalhostProfile, ""))
	switch q := at.Child("localhostProfile"); {
	case local && p.LocalhostProfile == nil:
		out = append(out, field.Required(q, "must be set when AppArmor type is Localhost"))
	case local && name != *p.LocalhostProfile:
		out = append(out, field.Invalid(q, *p.LocalhostProfile, "must not be padded with whitespace"))
	case local && name == "":
		out = append(out, field.Required(q, "must be set when AppArmor type is Localhost"))
	case local && len(name) > 4095:
		out = append(out, field.TooLong(q, "", 4095))
	case (p.Type == corev1.AppArmorProfileTypeRuntimeDefault || p.Type == corev1.AppArmorProfileTypeUnconfined) && p.LocalhostProfile != nil:
		out = append(out, field.Invalid(q, *p.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
	}
	return out
}

// validateSysctls judges names and that no sysctl of a namespace shared with the host is set.
func validateSysctls(sysctls []corev1.Sysctl, spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	names := unique{}
	for i, s := range sysctls {
		p := at.Index(i).Child("name")
		switch {
		case s.Name == "":
			out = append(out, field.Required(p, ""))
		case len(s.Name) > sysctlMaxLength || !sysctlName.MatchString(s.Name):
			out = append(out, field.Invalid(p, s.Name, fmt.Sprintf("must have at most %d characters and match regex %s", sysctlMaxLength, sysctlPattern)))
		default:
			out = append(out, names.add(p, s.Name)...)
		}
		name := dotted(s.Name)
		if spec.HostNetwork && strings.HasPrefix(name, "net.") {
			out = append(out, field.Invalid(p, s.Name, "may not be specified when 'hostNetwork' is true"))
		}
		ipc := strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue.")
		if spec.HostIPC && ipc {
			out = append(out, field.Invalid(p, s.Name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return out
}

// dotted gives a sysctl written with slashes its dotted form, in which the first separator decides.
func dotted(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}
	return strings.NewReplacer("/", ".", ".", "/").Replace(path.Clean(name))
}

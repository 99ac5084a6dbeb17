package podspec

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// Who a process of Windows may be: [DOMAIN\]USER. A domain is a NetBIOS or a DNS name.
const (
	maxUserName       = 104
	maxDomainName     = 255
	badUserCharacters = `"/\:;|=,+*?<>@[]`
)

var (
	netBIOSName = regexp.MustCompile(`^[^.\\/:*?"<>|][^\\/:*?"<>|]{0,14}$`)
	dnsDomain   = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
)

// validateWindowsOptions judges the options of Windows of a pod or container.
func validateWindowsOptions(w *corev1.WindowsSecurityContextOptions, at *field.Path) errs {
	if w == nil {
		return nil
	}
	var out errs
	if n := w.GMSACredentialSpecName; n != nil {
		out = append(out, invalid(at.Child("gmsaCredentialSpecName"), *n, subdomain(*n))...)
	}
	if c := w.GMSACredentialSpec; c != nil {
		const most = 64 * 1024
		if len(*c) == 0 {
			out = append(out, field.Invalid(at.Child("gmsaCredentialSpec"), *c, "gmsaCredentialSpec cannot be an empty string"))
		} else if len(*c) > most {
			out = append(out, field.Invalid(at.Child("gmsaCredentialSpec"), *c, "gmsaCredentialSpec size must be under 64 KiB"))
		}
	}
	if n := w.RunAsUserName; n != nil {
		for _, text := range windowsUser(*n) {
			out = append(out, field.Invalid(at.Child("runAsUserName"), *n, "runAsUserName"+text))
		}
	}
	return out
}

// windowsUser tells what is wrong with a user's name.
func windowsUser(name string) []string {
	switch {
	case name == "":
		return []string{" cannot be an empty string"}
	case strings.ContainsFunc(name, unicode.IsControl):
		return []string{" cannot contain control characters"}
	case strings.Count(name, `\`) > 1:
		return []string{" cannot contain more than one backslash"}
	}
	var out []string
	domain, user, found := strings.Cut(name, `\`)
	if !found {
		domain, user = "", name
	}
	if found && len(domain) > maxDomainName {
		out = append(out, "'s Domain length must be under 256 characters")
	} else if found && !netBIOSName.MatchString(domain) && !dnsDomain.MatchString(domain) {
		out = append(out, "'s Domain doesn't match the NetBios nor the DNS format")
	}
	switch {
	case user == "":
		out = append(out, "'s User cannot be empty")
	case len(user) > maxUserName:
		out = append(out, "'s User length must not be longer than 104 characters")
	case strings.Trim(user, " .") == "":
		out = append(out, "'s User cannot contain only periods or spaces")
	case strings.ContainsAny(user, badUserCharacters):
		out = append(out, "'s User cannot contain the following characters: "+badUserCharacters)
	}
	return out
}

// validateHostProcess: either all containers are processes of the node or none, and what the pod says of all is not contradicted.
func validateHostProcess(spec *corev1.PodSpec, at *field.Path) errs {
	var pod *bool
	if sc := spec.SecurityContext; sc != nil && sc.WindowsOptions != nil {
		pod = sc.WindowsOptions.HostProcess
	}
	var out errs
	n, host := 0, 0
	eachContainer(spec, at, func(c *corev1.Container, at *field.Path) {
		n++
		is := ptr.Deref(pod, false)
		if sc := c.SecurityContext; sc != nil && sc.WindowsOptions != nil && sc.WindowsOptions.HostProcess != nil {
			is = *sc.WindowsOptions.HostProcess
			if pod != nil && *pod != is {
				out = append(out, field.Invalid(at.Child("securityContext", "windowsOptions", "hostProcess"), is,
					"pod hostProcess value must be identical if both are specified, was "+strconv.FormatBool(*pod)))
			}
		}
		if is {
			host++
		}
	})
	if host == 0 {
		return out
	}
	if host < n {
		out = append(out, field.Invalid(at, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !spec.HostNetwork {
		out = append(out, field.Invalid(at.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return out
}

// validateOS: the fields that mean nothing on the operating system that the pod is for are not set.
func validateOS(spec *corev1.PodSpec, at *field.Path) errs {
	switch {
	case spec.OS == nil:
		return nil
	case spec.OS.Name == "":
		return errs{field.Required(at.Child("os", "name"), "")}
	case spec.OS.Name == corev1.Linux:
		return linuxOnly(spec, at)
	case spec.OS.Name == corev1.Windows:
		return windowsOnly(spec, at)
	}
	return oneOf(at.Child("os"), spec.OS.Name, corev1.Linux, corev1.Windows)
}

func linuxOnly(spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	refuse := func(w *corev1.WindowsSecurityContextOptions, at *field.Path) {
		if w != nil {
			out = append(out, field.Forbidden(at.Child("securityContext", "windowsOptions"), "windows options cannot be set for a linux pod"))
		}
	}
	if spec.SecurityContext != nil {
		refuse(spec.SecurityContext.WindowsOptions, at)
	}
	eachContainer(spec, at, func(c *corev1.Container, at *field.Path) {
		if c.SecurityContext != nil {
			refuse(c.SecurityContext.WindowsOptions, at)
		}
	})
	return out
}

// forWhich is a field that may be set.
type forWhich struct {
	name string
	set  bool
}

func notOnWindows(at *field.Path, fields ...forWhich) errs {
	var out errs
	for _, f := range fields {
		if f.set {
			out = append(out, field.Forbidden(at.Child(f.name), "cannot be set for a windows pod"))
		}
	}
	return out
}

func windowsOnly(spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	if sc := spec.SecurityContext; sc != nil {
		out = append(out, notOnWindows(at.Child("securityContext"),
			forWhich{"appArmorProfile", sc.AppArmorProfile != nil}, forWhich{"seLinuxOptions", sc.SELinuxOptions != nil},
			forWhich{"seccompProfile", sc.SeccompProfile != nil}, forWhich{"fsGroup", sc.FSGroup != nil},
			forWhich{"fsGroupChangePolicy", sc.FSGroupChangePolicy != nil}, forWhich{"sysctls", len(sc.Sysctls) > 0},
			forWhich{"runAsUser", sc.RunAsUser != nil}, forWhich{"runAsGroup", sc.RunAsGroup != nil},
			forWhich{"supplementalGroups", sc.SupplementalGroups != nil},
			forWhich{"supplementalGroupsPolicy", sc.SupplementalGroupsPolicy != nil}, forWhich{"seLinuxChangePolicy", sc.SELinuxChangePolicy != nil})...)
	}
	out = append(out, notOnWindows(at, forWhich{"hostUsers", spec.HostUsers != nil}, forWhich{"hostPID", spec.HostPID},
		forWhich{"hostIPC", spec.HostIPC}, forWhich{"shareProcessNamespace", spec.ShareProcessNamespace != nil})...)
	eachContainer(spec, at, func(c *corev1.Container, at *field.Path) {
		sc := c.SecurityContext
		if sc == nil {
			return
		}
		out = append(out, notOnWindows(at.Child("securityContext"),
			forWhich{"appArmorProfile", sc.AppArmorProfile != nil}, forWhich{"seLinuxOptions", sc.SELinuxOptions != nil},
			forWhich{"seccompProfile", sc.SeccompProfile != nil}, forWhich{"capabilities", sc.Capabilities != nil},
			forWhich{"readOnlyRootFilesystem", sc.ReadOnlyRootFilesystem != nil}, forWhich{"privileged", sc.Privileged != nil},
			forWhich{"allowPrivilegeEscalation", sc.AllowPrivilegeEscalation != nil}, forWhich{"procMount", sc.ProcMount != nil},
			forWhich{"runAsUser", sc.RunAsUser != nil}, forWhich{"runAsGroup", sc.RunAsGroup != nil})...)
	})
	return out
}

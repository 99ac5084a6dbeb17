package podspec

import (
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object/goform"
)

// Validate judges the specification of a pod or of a pod template, after defaulting.
func Validate(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	known, out := validateVolumes(spec.Volumes, at.Child("volumes"))
	claims := sets.Set[string]{}
	out = append(out, validatePodClaims(spec.ResourceClaims, claims, at.Child("resourceClaims"))...)
	s := &surroundings{spec: spec, volumes: known, claims: claims, grace: ptr.Deref(spec.TerminationGracePeriodSeconds, 0)}
	out = append(out, validateContainers(spec, s, at)...)
	out = append(out, validatePodResources(spec, at.Child("resources"))...)
	out = append(out, validateLife(spec, at)...)
	out = append(out, validateIdentity(spec, at)...)
	out = append(out, validateHost(spec, at)...)
	out = append(out, validateDNS(spec, at)...)
	return append(out, validatePlacement(spec, at)...)
}

// ValidateTemplate judges the pod template of a workload: its labels and annotations and the specification.
func ValidateTemplate(t *corev1.PodTemplateSpec, at *field.Path) field.ErrorList {
	out := metavalidation.ValidateLabels(t.Labels, at.Child("labels"))
	out = append(out, validateAnnotations(t.Annotations, at.Child("annotations"))...)
	out = append(out, Validate(&t.Spec, at.Child("spec"))...)
	if len(t.Spec.EphemeralContainers) > 0 {
		out = append(out, field.Forbidden(at.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return out
}

// validateLife: how long the pod lives and what happens when containers end.
func validateLife(spec *corev1.PodSpec, at *field.Path) errs {
	out := requiredOneOf(at.Child("restartPolicy"), spec.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	if d := spec.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		out = append(out, field.Invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	// Older clients store negative periods: they count as one second.
	for i, g := range spec.ReadinessGates {
		p := at.Child("readinessGates").Index(i).Child("conditionType")
		out = append(out, invalid(p, string(g.ConditionType), validation.IsQualifiedName(string(g.ConditionType)))...)
	}
	names := unique{}
	for i, g := range spec.SchedulingGates {
		p := at.Child("schedulingGates").Index(i)
		out = append(out, invalid(p, g.Name, validation.IsQualifiedName(g.Name))...)
		out = append(out, names.add(p, g.Name)...)
	}
	return out
}

// validateIdentity: who the pod is and whose secrets it uses.
func validateIdentity(spec *corev1.PodSpec, at *field.Path) errs {
	out := optional(at.Child("serviceAccountName"), spec.ServiceAccountName, subdomain)
	out = append(out, optional(at.Child("nodeName"), spec.NodeName, subdomain)...)
	out = append(out, optional(at.Child("hostname"), spec.Hostname, validation.IsDNS1123Label)...)
	out = append(out, optional(at.Child("subdomain"), spec.Subdomain, validation.IsDNS1123Label)...)
	if h := spec.HostnameOverride; h != nil {
		out = append(out, invalid(at.Child("hostnameOverride"), *h, validation.IsDNS1123Subdomain(*h))...)
		if len(*h) > 64 {
			out = append(out, field.TooLong(at.Child("hostnameOverride"), "", 64))
		}
		if spec.HostNetwork {
			out = append(out, field.Forbidden(at.Child("hostnameOverride"), "may not be specified when hostNetwork is true"))
		}
		if ptr.Deref(spec.SetHostnameAsFQDN, false) {
			out = append(out, field.Forbidden(at.Child("hostnameOverride"), "may not be specified when setHostnameAsFQDN is true"))
		}
	}
	out = append(out, optional(at.Child("priorityClassName"), spec.PriorityClassName, subdomain)...)
	if r := spec.RuntimeClassName; r != nil {
		out = append(out, invalid(at.Child("runtimeClassName"), *r, subdomain(*r))...)
	}
	if p := spec.PreemptionPolicy; p != nil {
		out = append(out, requiredOneOf(at.Child("preemptionPolicy"), *p, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return append(out, validatePodSecurityContext(spec, at.Child("securityContext"))...)
}

// validateHost: what the pod shares with its node, and the operating system it is for.
func validateHost(spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	if ptr.Deref(spec.ShareProcessNamespace, false) && spec.HostPID {
		out = append(out, field.Invalid(at.Child("shareProcessNamespace"), *spec.ShareProcessNamespace,
			"ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	if u := spec.HostUsers; u != nil && !*u {
		for _, host := range []struct {
			name string
			set  bool
		}{{"hostNetwork", spec.HostNetwork}, {"HostPID", spec.HostPID}, {"HostIPC", spec.HostIPC}} {
			if host.set {
				out = append(out, field.Forbidden(at.Child(host.name), "when `hostUsers` is false"))
			}
		}
		for i := range spec.Containers {
			if len(spec.Containers[i].VolumeDevices) > 0 {
				out = append(out, field.Forbidden(at.Child("containers").Index(i).Child("volumeDevices"), "when `hostUsers` is false"))
			}
		}
	}
	for i, a := range spec.HostAliases {
		p := at.Child("hostAliases").Index(i)
		out = append(out, validation.IsValidIPForLegacyField(p.Child("ip"), a.IP, false, nil)...)
		for j, h := range a.Hostnames {
			out = append(out, invalid(p.Child("hostnames").Index(j), h, validation.IsDNS1123Subdomain(h))...)
		}
	}
	if spec.OS != nil {
		if spec.OS.Name == "" {
			out = append(out, field.Required(at.Child("os", "name"), ""))
		} else {
			out = append(out, oneOf(at.Child("os"), spec.OS.Name, corev1.Linux, corev1.Windows)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Overhead)) {
		q := spec.Overhead[name]
		p := at.Child("overhead", "limits").Key(string(name))
		out = append(out, ValidateResourceName(name, p)...)
		out = append(out, ValidateQuantity(name, q, p)...)
	}
	return out
}

func validateDNS(spec *corev1.PodSpec, at *field.Path) errs {
	out := requiredOneOf(at.Child("dnsPolicy"), spec.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	p, c := at.Child("dnsConfig"), spec.DNSConfig
	if spec.DNSPolicy == corev1.DNSNone {
		if c == nil {
			return append(out, field.Required(p, "must provide `dnsConfig` when `dnsPolicy` is None"))
		}
		if len(c.Nameservers) == 0 {
			return append(out, field.Required(p.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"))
		}
	}
	if c == nil {
		return out
	}
	const maxServers, maxSearch, maxSearchChars = 3, 32, 2048
	if len(c.Nameservers) > maxServers {
		out = append(out, field.Invalid(p.Child("nameservers"), c.Nameservers, "must not have more than 3 nameservers"))
	}
	for i, ns := range c.Nameservers {
		out = append(out, validation.IsValidIPForLegacyField(p.Child("nameservers").Index(i), ns, false, nil)...)
	}
	if len(c.Searches) > maxSearch {
		out = append(out, field.Invalid(p.Child("searches"), c.Searches, "must not have more than 32 search paths"))
	}
	if len(strings.Join(c.Searches, " ")) > maxSearchChars {
		out = append(out, field.Invalid(p.Child("searches"), c.Searches, "must not have more than 2048 characters (including spaces) in the search list"))
	}
	for i, s := range c.Searches {
		if s != "." {
			out = append(out, invalid(p.Child("searches").Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(s, ".")))...)
		}
	}
	for i, o := range c.Options {
		if o.Name == "" {
			out = append(out, field.Required(p.Child("options").Index(i), "must not be empty"))
		}
	}
	return out
}

// validatePlacement: on which nodes the pod may run.
func validatePlacement(spec *corev1.PodSpec, at *field.Path) errs {
	out := metavalidation.ValidateLabels(spec.NodeSelector, at.Child("nodeSelector"))
	out = append(out, ValidateTolerations(spec.Tolerations, at.Child("tolerations"))...)
	out = append(out, validateAffinity(spec.Affinity, at.Child("affinity"))...)
	return append(out, validateSpread(spec.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))...)
}

func validatePodClaims(claims []corev1.PodResourceClaim, names sets.Set[string], at *field.Path) errs {
	var out errs
	for i, c := range claims {
		p := at.Index(i)
		if bad := required(p.Child("name"), c.Name, validation.IsDNS1123Label); len(bad) > 0 {
			out = append(out, bad...)
		} else if names.Has(c.Name) {
			out = append(out, field.Duplicate(p.Child("name"), c.Name))
		} else {
			names.Insert(c.Name)
		}
		one, template := c.ResourceClaimName, c.ResourceClaimTemplateName
		switch {
		case one != nil && template != nil:
			out = append(out, field.Invalid(p, goform.Of(c), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case one == nil && template == nil:
			out = append(out, field.Invalid(p, goform.Of(c), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		case one != nil:
			out = append(out, invalid(p.Child("resourceClaimName"), *one, subdomain(*one))...)
		default:
			out = append(out, invalid(p.Child("resourceClaimTemplateName"), *template, subdomain(*template))...)
		}
	}
	return out
}

// ValidatePathSegment wants a name that may stand in a URL's path.
func ValidatePathSegment(name string, at *field.Path) errs {
	return invalid(at, name, path.IsValidPathSegmentName(name))
}

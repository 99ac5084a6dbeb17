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

// Validate judges the specification of a pod or of a pod template, after defaulting. Clients see the errors in this order.
func Validate(spec *corev1.PodSpec, how Judging, at *field.Path) field.ErrorList {
	known, out := validateVolumes(spec.Volumes, at.Child("volumes"))
	claims := sets.Set[string]{}
	out = append(out, validatePodClaims(spec.ResourceClaims, claims, at.Child("resourceClaims"))...)
	s := &surroundings{spec: spec, volumes: known, claims: claims, grace: ptr.Deref(spec.TerminationGracePeriodSeconds, 0)}
	out = append(out, validateContainers(spec, s, at)...)
	out = append(out, validatePodResources(spec, claims, at.Child("resources"))...)
	out = append(out, requiredOneOf(at.Child("restartPolicy"), spec.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	out = append(out, requiredOneOf(at.Child("dnsPolicy"), spec.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	out = append(out, metavalidation.ValidateLabels(spec.NodeSelector, at.Child("nodeSelector"))...)
	out = append(out, validatePodSecurityContext(spec, at.Child("securityContext"))...)
	if ptr.Deref(spec.ShareProcessNamespace, false) && spec.HostPID {
		out = append(out, field.Invalid(at.Child("shareProcessNamespace"), *spec.ShareProcessNamespace,
			"ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	out = append(out, validateAffinity(spec.Affinity, at.Child("affinity"))...)
	out = append(out, validateDNS(spec, how, at)...)
	out = append(out, validateGates(spec, at)...)
	out = append(out, validateSpread(spec.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))...)
	out = append(out, validateHostProcess(spec, at)...)
	out = append(out, validateHostUsers(spec, at)...)
	out = append(out, validateHostnameOverride(spec, at)...)
	out = append(out, validateIdentity(spec, at)...)
	out = append(out, ValidateTolerations(spec.Tolerations, at.Child("tolerations"))...)
	out = append(out, validateHostAliases(spec.HostAliases, how, at.Child("hostAliases"))...)
	out = append(out, validateClasses(spec, at)...)
	out = append(out, ValidateOverhead(spec.Overhead, at.Child("overhead"))...)
	out = append(out, validateOS(spec, at)...)
	return append(out, validateFileVolumes(spec, at)...)
}

// Judging tells how strict the judgement of a specification is.
type Judging struct {
	// AnyIPs lets addresses pass that are written as no longer allowed (leading zeros, IPv4 in IPv6), as an old object has them.
	AnyIPs bool
}

// Judge tells how to judge a specification that takes the place of an old one; nil: of none.
func Judge(old *corev1.PodSpec) Judging {
	if old == nil {
		return Judging{}
	}
	ips := func(how Judging) errs {
		return append(validateDNS(old, how, nil), validateHostAliases(old.HostAliases, how, nil)...)
	}
	return Judging{AnyIPs: len(ips(Judging{})) > len(ips(Judging{AnyIPs: true}))}
}

// ValidateTemplate judges the pod template of a workload: its labels and annotations and the specification.
func ValidateTemplate(t *corev1.PodTemplateSpec, at *field.Path) field.ErrorList {
	out := metavalidation.ValidateLabels(t.Labels, at.Child("labels"))
	out = append(out, validateAnnotations(t.Annotations, at.Child("annotations"))...)
	out = append(out, ValidateAnnotations(t.Annotations, &t.Spec, at.Child("annotations"))...)
	out = append(out, Validate(&t.Spec, Judging{AnyIPs: true}, at.Child("spec"))...)
	out = append(out, ValidateProfiles(t.Annotations, &t.Spec, at.Child("spec"))...)
	if len(t.Spec.EphemeralContainers) > 0 {
		out = append(out, field.Forbidden(at.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return out
}

// validateGates: what a pod has to wait for.
func validateGates(spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
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

func validateHostnameOverride(spec *corev1.PodSpec, at *field.Path) errs {
	h := spec.HostnameOverride
	if h == nil {
		return nil
	}
	var out errs
	p := at.Child("hostnameOverride")
	if spec.HostNetwork {
		out = append(out, field.Forbidden(p, "may not be specified when hostNetwork is true"))
	}
	if ptr.Deref(spec.SetHostnameAsFQDN, false) {
		out = append(out, field.Forbidden(p, "may not be specified when setHostnameAsFQDN is true"))
	}
	out = append(out, invalid(p, *h, validation.IsDNS1123Subdomain(*h))...)
	if len(*h) > 64 {
		out = append(out, field.TooLong(p, "", 64))
	}
	return out
}

// validateIdentity: who the pod is, where it runs and for how long. Older clients store negative grace periods: they count as a second.
func validateIdentity(spec *corev1.PodSpec, at *field.Path) errs {
	out := optional(at.Child("serviceAccountName"), spec.ServiceAccountName, subdomain)
	out = append(out, optional(at.Child("nodeName"), spec.NodeName, subdomain)...)
	if d := spec.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		out = append(out, field.Invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	out = append(out, optional(at.Child("hostname"), spec.Hostname, validation.IsDNS1123Label)...)
	return append(out, optional(at.Child("subdomain"), spec.Subdomain, validation.IsDNS1123Label)...)
}

func validateClasses(spec *corev1.PodSpec, at *field.Path) errs {
	out := optional(at.Child("priorityClassName"), spec.PriorityClassName, subdomain)
	if r := spec.RuntimeClassName; r != nil {
		out = append(out, invalid(at.Child("runtimeClassName"), *r, subdomain(*r))...)
	}
	if p := spec.PreemptionPolicy; p != nil {
		out = append(out, requiredOneOf(at.Child("preemptionPolicy"), *p, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return out
}

// validateHostUsers: a pod with users of its own shares little with its node.
func validateHostUsers(spec *corev1.PodSpec, at *field.Path) errs {
	if ptr.Deref(spec.HostUsers, true) {
		return nil
	}
	var out errs
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
	return out
}

func validateHostAliases(list []corev1.HostAlias, how Judging, at *field.Path) errs {
	var out errs
	for i, a := range list {
		p := at.Index(i)
		out = append(out, validation.IsValidIPForLegacyField(p.Child("ip"), a.IP, !how.AnyIPs, nil)...)
		for j, h := range a.Hostnames {
			out = append(out, invalid(p.Child("hostnames").Index(j), h, validation.IsDNS1123Subdomain(h))...)
		}
	}
	return out
}

// ValidateOverhead judges the resources that a pod takes besides its containers. Clients know them as limits.
func ValidateOverhead(overhead corev1.ResourceList, at *field.Path) errs {
	var out errs
	for _, name := range slices.Sorted(maps.Keys(overhead)) {
		p := at.Child("limits").Key(string(name))
		out = append(out, ValidateResourceName(name, p)...)
		out = append(out, ValidateQuantity(name, overhead[name], p)...)
	}
	return out
}

func validateDNS(spec *corev1.PodSpec, how Judging, at *field.Path) errs {
	var out errs
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
		out = append(out, validation.IsValidIPForLegacyField(p.Child("nameservers").Index(i), ns, !how.AnyIPs, nil)...)
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

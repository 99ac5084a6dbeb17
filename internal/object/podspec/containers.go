package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// surroundings are what a container's validity depends on besides itself.
type surroundings struct {
	spec    *corev1.PodSpec
	volumes volumes
	claims  sets.Set[string]
	grace   int64
}

func validateContainers(spec *corev1.PodSpec, s *surroundings, at *field.Path) errs {
	p := at.Child("containers")
	if len(spec.Containers) == 0 {
		return errs{field.Required(p, "")}
	}
	var out errs
	names := unique{}
	for i := range spec.Containers {
		c, q := &spec.Containers[i], p.Index(i)
		out = append(out, validateContainer(c, s, q)...)
		out = append(out, names.add(q.Child("name"), c.Name)...)
		out = append(out, validateProbes(c, s.grace, q)...)
		out = append(out, validateRestart(c, false, q)...)
	}
	out = append(out, hostPortConflicts(spec.Containers, p)...)
	p = at.Child("initContainers")
	for i := range spec.InitContainers {
		c, q := &spec.InitContainers[i], p.Index(i)
		out = append(out, validateContainer(c, s, q)...)
		out = append(out, names.add(q.Child("name"), c.Name)...)
		out = append(out, validateRestart(c, true, q)...)
		out = append(out, validateInit(c, s, q)...)
		out = append(out, hostPortConflicts(spec.InitContainers[i:i+1], p)...)
	}
	return append(out, validateEphemeralContainers(spec, s, names, at.Child("ephemeralContainers"))...)
}

// eachContainer goes through the containers of all sorts: init containers, containers, ephemeral ones.
func eachContainer(spec *corev1.PodSpec, at *field.Path, do func(c *corev1.Container, at *field.Path)) {
	for i := range spec.InitContainers {
		do(&spec.InitContainers[i], at.Child("initContainers").Index(i))
	}
	for i := range spec.Containers {
		do(&spec.Containers[i], at.Child("containers").Index(i))
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		do(&c, at.Child("ephemeralContainers").Index(i))
	}
}

func sidecar(c *corev1.Container) bool {
	return ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
}

// validateInit: only init containers that keep running may have probes and hooks.
func validateInit(c *corev1.Container, s *surroundings, at *field.Path) errs {
	if sidecar(c) {
		return validateProbes(c, s.grace, at)
	}
	const text = "may not be set for init containers without restartPolicy=Always"
	var out errs
	if c.Lifecycle != nil {
		out = append(out, field.Forbidden(at.Child("lifecycle"), text))
	}
	if c.LivenessProbe != nil {
		out = append(out, field.Forbidden(at.Child("livenessProbe"), text))
	}
	if c.ReadinessProbe != nil {
		out = append(out, field.Forbidden(at.Child("readinessProbe"), text))
	}
	if c.StartupProbe != nil {
		out = append(out, field.Forbidden(at.Child("startupProbe"), text))
	}
	return out
}

// validateRestart: rules of an init container are only judged when it has a policy to which they are exceptions.
func validateRestart(c *corev1.Container, init bool, at *field.Path) errs {
	var out errs
	if c.RestartPolicy != nil {
		out = append(out, oneOf(at.Child("restartPolicy"), *c.RestartPolicy,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)...)
	}
	p := at.Child("restartPolicyRules")
	if len(c.RestartPolicyRules) > 0 && c.RestartPolicy == nil {
		out = append(out, field.Required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
		if init {
			return out
		}
	}
	if len(c.RestartPolicyRules) > 20 {
		out = append(out, field.TooMany(p, len(c.RestartPolicyRules), 20))
	}
	for i, r := range c.RestartPolicyRules {
		q := p.Index(i)
		out = append(out, oneOf(q.Child("action"), r.Action,
			corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)...)
		if r.ExitCodes == nil {
			out = append(out, field.Required(q.Child("exitCodes"), "must be specified"))
			continue
		}
		out = append(out, oneOf(q.Child("exitCodes", "operator"), r.ExitCodes.Operator,
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
		if n := len(r.ExitCodes.Values); n > 255 {
			out = append(out, field.TooMany(q.Child("exitCodes", "values"), n, 255))
		}
	}
	return out
}

// validateContainer judges what all containers have.
func validateContainer(c *corev1.Container, s *surroundings, at *field.Path) errs {
	out := required(at.Child("name"), c.Name, validation.IsDNS1123Label)
	if c.Image == "" {
		out = append(out, field.Required(at.Child("image"), ""))
	} else if strings.TrimSpace(c.Image) != c.Image {
		out = append(out, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	switch c.TerminationMessagePolicy {
	case corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError:
	case "":
		out = append(out, field.Required(at.Child("terminationMessagePolicy"), ""))
	default:
		out = append(out, field.NotSupported(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
			[]corev1.TerminationMessagePolicy{corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError}))
	}
	out = append(out, requiredOneOf(at.Child("imagePullPolicy"), c.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	out = append(out, validatePorts(c.Ports, s.spec, at.Child("ports"))...)
	out = append(out, validateEnv(c.Env, at.Child("env"))...)
	out = append(out, validateEnvFrom(c.EnvFrom, at.Child("envFrom"))...)
	out = append(out, validateMounts(c, s, at)...)
	out = append(out, validateResources(&c.Resources, s.claims, at.Child("resources"))...)
	out = append(out, validateResizePolicy(c, s.spec, at.Child("resizePolicy"))...)
	return append(out, validateSecurityContext(c.SecurityContext, s.spec, at.Child("securityContext"))...)
}

func validatePorts(ports []corev1.ContainerPort, spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	names := unique{}
	for i := range ports {
		port, p := &ports[i], at.Index(i)
		if port.Name != "" {
			if bad := validation.IsValidPortName(port.Name); len(bad) > 0 {
				out = append(out, invalid(p.Child("name"), port.Name, bad)...)
			} else {
				out = append(out, names.add(p.Child("name"), port.Name)...)
			}
		}
		if port.ContainerPort == 0 {
			out = append(out, field.Required(p.Child("containerPort"), ""))
		} else {
			out = append(out, invalid(p.Child("containerPort"), port.ContainerPort, validation.IsValidPortNum(int(port.ContainerPort)))...)
		}
		if port.HostPort != 0 {
			out = append(out, invalid(p.Child("hostPort"), port.HostPort, validation.IsValidPortNum(int(port.HostPort)))...)
		}
		if spec.HostNetwork && port.HostPort != 0 && port.HostPort != port.ContainerPort {
			out = append(out, field.Invalid(p.Child("hostPort"), port.HostPort, "must match `containerPort` when `hostNetwork` is true"))
		}
		out = append(out, requiredOneOf(p.Child("protocol"), port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	return out
}

func hostPortConflicts(list []corev1.Container, at *field.Path) errs {
	var out errs
	seen := unique{}
	for i := range list {
		for j, port := range list[i].Ports {
			if port.HostPort != 0 {
				out = append(out, seen.add(at.Index(i).Child("ports").Index(j).Child("hostPort"),
					fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort))...)
			}
		}
	}
	return out
}

func validateResizePolicy(c *corev1.Container, spec *corev1.PodSpec, at *field.Path) errs {
	var out errs
	seen := unique{}
	for i, r := range c.ResizePolicy {
		p := at.Index(i)
		out = append(out, seen.add(p, string(r.ResourceName))...)
		bad := requiredOneOf(at, r.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		if len(bad) == 0 || r.RestartPolicy != "" {
			bad = append(bad, requiredOneOf(at, r.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)...)
		}
		out = append(out, bad...)
		if spec.RestartPolicy == corev1.RestartPolicyNever && r.RestartPolicy != corev1.NotRequired && c.RestartPolicy == nil {
			out = append(out, field.Invalid(at, r.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return out
}

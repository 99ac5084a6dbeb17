package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateProbes(c *corev1.Container, grace int64, at *field.Path) errs {
	out := validateProbe(c.LivenessProbe, at.Child("livenessProbe"))
	out = append(out, validateProbe(c.ReadinessProbe, at.Child("readinessProbe"))...)
	out = append(out, validateProbe(c.StartupProbe, at.Child("startupProbe"))...)
	if p := c.LivenessProbe; p != nil && p.SuccessThreshold != 1 {
		out = append(out, field.Invalid(at.Child("livenessProbe", "successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if p := c.StartupProbe; p != nil && p.SuccessThreshold != 1 {
		out = append(out, field.Invalid(at.Child("startupProbe", "successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if p := c.ReadinessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		out = append(out, field.Invalid(at.Child("readinessProbe", "terminationGracePeriodSeconds"),
			*p.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
	}
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil {
			out = append(out, validateHandler(handlerOf(l.PostStart), grace, at.Child("lifecycle", "postStart"))...)
		}
		if l.PreStop != nil {
			out = append(out, validateHandler(handlerOf(l.PreStop), grace, at.Child("lifecycle", "preStop"))...)
		}
	}
	return out
}

func validateProbe(p *corev1.Probe, at *field.Path) errs {
	if p == nil {
		return nil
	}
	out := validateHandler(handler{exec: p.Exec, httpGet: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, 0, at)
	out = append(out, nonNegative(at.Child("initialDelaySeconds"), int64(p.InitialDelaySeconds))...)
	out = append(out, nonNegative(at.Child("timeoutSeconds"), int64(p.TimeoutSeconds))...)
	out = append(out, nonNegative(at.Child("periodSeconds"), int64(p.PeriodSeconds))...)
	out = append(out, nonNegative(at.Child("successThreshold"), int64(p.SuccessThreshold))...)
	out = append(out, nonNegative(at.Child("failureThreshold"), int64(p.FailureThreshold))...)
	if t := p.TerminationGracePeriodSeconds; t != nil && *t <= 0 {
		out = append(out, field.Invalid(at.Child("terminationGracePeriodSeconds"), *t, "must be greater than 0"))
	}
	return out
}

// handler is what probes and lifecycle hooks have in common.
type handler struct {
	exec    *corev1.ExecAction
	httpGet *corev1.HTTPGetAction
	tcp     *corev1.TCPSocketAction
	grpc    *corev1.GRPCAction
	sleep   *corev1.SleepAction
}

func handlerOf(l *corev1.LifecycleHandler) handler {
	return handler{exec: l.Exec, httpGet: l.HTTPGet, tcp: l.TCPSocket, sleep: l.Sleep}
}

func validateHandler(h handler, grace int64, at *field.Path) errs {
	var out errs
	n := 0
	// take counts one more handler: the first is judged, each further one is forbidden.
	take := func(name string, judge func(*field.Path) errs) {
		n++
		if n > 1 {
			out = append(out, field.Forbidden(at.Child(name), "may not specify more than 1 handler type"))
			return
		}
		out = append(out, judge(at.Child(name))...)
	}
	if a := h.exec; a != nil {
		take("exec", func(at *field.Path) errs {
			if len(a.Command) == 0 {
				return errs{field.Required(at.Child("command"), "")}
			}
			return nil
		})
	}
	if a := h.httpGet; a != nil {
		take("httpGet", func(at *field.Path) errs { return validateHTTPGet(a, at) })
	}
	if a := h.tcp; a != nil {
		take("tcpSocket", func(at *field.Path) errs { return portOrName(at.Child("port"), a.Port) })
	}
	if a := h.grpc; a != nil {
		take("grpc", func(at *field.Path) errs {
			return invalid(at.Child("port"), a.Port, validation.IsValidPortNum(int(a.Port)))
		})
	}
	if a := h.sleep; a != nil {
		take("sleep", func(at *field.Path) errs {
			if a.Seconds < 0 || a.Seconds > grace {
				return errs{field.Invalid(at, a.Seconds, fmt.Sprintf(
					"must be non-negative and less than terminationGracePeriodSeconds (%d)", grace))}
			}
			return nil
		})
	}
	if n == 0 {
		out = append(out, field.Required(at, "must specify a handler type"))
	}
	return out
}

func validateHTTPGet(a *corev1.HTTPGetAction, at *field.Path) errs {
	out := required(at.Child("path"), a.Path, nil)
	out = append(out, portOrName(at.Child("port"), a.Port)...)
	out = append(out, oneOf(at.Child("scheme"), a.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for _, h := range a.HTTPHeaders {
		out = append(out, invalid(at.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name))...)
	}
	return out
}

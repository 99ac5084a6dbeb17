package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psa "k8s.io/pod-security-admission/admission"
	"k8s.io/pod-security-admission/admission/api/load"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

// podSecurity holds pods to the pod security standard that their namespace asks for by labels
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/).
type podSecurity struct{ psa.Admission }

func newPodSecurity(c *Config) (*podSecurity, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, err
	}
	// Without a document: everything is allowed where a namespace says nothing, and nobody is exempt.
	cfg, err := load.LoadFromData(c.Settings["PodSecurity"].Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Settings["PodSecurity"].File, err)
	}
	source := podSource{c.API}
	p := &podSecurity{psa.Admission{
		Configuration: cfg,
		Evaluator:     evaluator, Metrics: newPodSecurityCounters(c.Metrics), PodSpecExtractor: psa.DefaultPodSpecExtractor{},
		NamespaceGetter: source, PodLister: source,
	}}
	if err := p.CompleteConfiguration(); err != nil {
		return nil, err
	}
	return p, p.ValidateConfiguration()
}

func (*podSecurity) Name() string { return "PodSecurity" }

// podSource reads namespaces and pods for the library.
type podSource struct{ c client.Interface }

func (s podSource) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	return find(ctx, s.c, client.Namespaces, "", name)
}

func (s podSource) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	pods, _, err := client.Pods.List(ctx, s.c, namespace, metav1.ListOptions{ResourceVersion: "0"})
	return pods, err
}

func (p *podSecurity) Validate(ctx context.Context, a *admission.Attributes) error {
	if !p.concerns(a) {
		return nil
	}
	at := &api.AttributesRecord{
		Name: a.Name, Namespace: a.Namespace, Kind: a.GVK, Resource: a.GVR, Subresource: a.Subresource,
		Operation: admissionv1.Operation(a.Operation), Object: a.Object, Username: a.User.GetName(),
	}
	if a.OldObject != nil {
		at.OldObject = a.OldObject
	}
	r := p.Admission.Validate(ctx, at)
	for _, w := range r.Warnings {
		a.Warn(w)
	}
	for k, v := range r.AuditAnnotations {
		a.Annotate(api.AuditAnnotationPrefix+k, v)
	}
	if r.Allowed {
		return nil
	}
	if r.Result == nil {
		return admission.Forbidden(a, "not allowed by PodSecurity")
	}
	return &apierrors.StatusError{ErrStatus: *r.Result}
}

// concerns picks the requests that the standards speak of, so that all others cost nothing.
func (p *podSecurity) concerns(a *admission.Attributes) bool {
	if a.Object == nil || a.User == nil || a.Operation != admission.Create && a.Operation != admission.Update {
		return false
	}
	if a.Subresource != "" && (a.GVR.Resource != "pods" || a.Subresource != "ephemeralcontainers" && a.Subresource != "resize") {
		return false
	}
	return a.GVR.Group == "" && a.GVR.Resource == "namespaces" || p.PodSpecExtractor.HasPodSpec(a.GroupResource())
}

// podSecurityCounters count decisions under upstream's metric names.
type podSecurityCounters struct{ evaluations, exemptions, errors *prometheus.CounterVec }

func newPodSecurityCounters(r prometheus.Registerer) *podSecurityCounters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		if r == nil {
			return v
		}
		if err := r.Register(v); err != nil {
			var twice prometheus.AlreadyRegisteredError
			if errors.As(err, &twice) {
				if old, ok := twice.ExistingCollector.(*prometheus.CounterVec); ok {
					return old
				}
			}
		}
		return v
	}
	return &podSecurityCounters{
		evaluations: vec("pod_security_evaluations_total", "Number of policy evaluations that occurred, not counting ignored or exempt requests.",
			"decision", "policy_level", "policy_version", "mode", "request_operation", "resource", "subresource"),
		exemptions: vec("pod_security_exemptions_total", "Number of exempt requests, not counting ignored or out of scope requests.",
			"request_operation", "resource", "subresource"),
		errors: vec("pod_security_errors_total", "Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted profile being used for evaluation.",
			"fatal", "request_operation", "resource", "subresource"),
	}
}

func (c *podSecurityCounters) labels(a api.Attributes) (operation, resource, subresource string) {
	resource = "controller"
	switch a.GetResource().GroupResource() {
	case corev1.Resource("pods"):
		resource = "pod"
	case corev1.Resource("namespaces"):
		resource = "namespace"
	}
	return strings.ToLower(string(a.GetOperation())), resource, a.GetSubresource()
}

func (c *podSecurityCounters) RecordEvaluation(d metrics.Decision, p api.LevelVersion, mode metrics.Mode, a api.Attributes) {
	op, res, sub := c.labels(a)
	c.evaluations.WithLabelValues(string(d), string(p.Level), p.Version.String(), string(mode), op, res, sub).Inc()
}

func (c *podSecurityCounters) RecordExemption(a api.Attributes) {
	c.exemptions.WithLabelValues(c.labels3(a)...).Inc()
}

func (c *podSecurityCounters) RecordError(fatal bool, a api.Attributes) {
	word := "false"
	if fatal {
		word = "true"
	}
	c.errors.WithLabelValues(append([]string{word}, c.labels3(a)...)...).Inc()
}

func (c *podSecurityCounters) labels3(a api.Attributes) []string {
	op, res, sub := c.labels(a)
	return []string{op, res, sub}
}

package object

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What validating and mutating webhooks share. A validating webhook has every field of a mutating
// one but the reinvocation policy.

func asMutating(w *admissionregv1.ValidatingWebhook) admissionregv1.MutatingWebhook {
	return admissionregv1.MutatingWebhook{
		Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
		NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects, TimeoutSeconds: w.TimeoutSeconds,
		AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
	}
}

func defaultWebhook(w *admissionregv1.MutatingWebhook) {
	setDefaultPtr(&w.FailurePolicy, admissionregv1.Fail)
	setDefaultPtr(&w.MatchPolicy, admissionregv1.Equivalent)
	setDefaultPtr(&w.NamespaceSelector, metav1.LabelSelector{})
	setDefaultPtr(&w.ObjectSelector, metav1.LabelSelector{})
	setDefaultPtr(&w.TimeoutSeconds, 10)
	if s := w.ClientConfig.Service; s != nil {
		setDefaultPtr(&s.Port, 443)
	}
	for i := range w.Rules {
		setDefaultPtr(&w.Rules[i].Scope, admissionregv1.AllScopes)
	}
}

func validateWebhooks(hooks []admissionregv1.MutatingWebhook) field.ErrorList {
	var errs field.ErrorList
	names := sets.Set[string]{}
	for i := range hooks {
		w, at := &hooks[i], field.NewPath("webhooks").Index(i)
		errs = append(errs, validateWebhook(w, at)...)
		if names.Has(w.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), w.Name))
		}
		names.Insert(w.Name)
	}
	return errs
}

func validateWebhook(w *admissionregv1.MutatingWebhook, at *field.Path) field.ErrorList {
	errs := validation.IsFullyQualifiedName(at.Child("name"), w.Name)
	for i := range w.Rules {
		errs = append(errs, validateAdmissionRule(&w.Rules[i], at.Child("rules").Index(i))...)
	}
	if p := w.FailurePolicy; p != nil {
		errs = append(errs, oneOf(at.Child("failurePolicy"), *p, admissionregv1.Fail, admissionregv1.Ignore)...)
	}
	if p := w.MatchPolicy; p != nil {
		errs = append(errs, oneOf(at.Child("matchPolicy"), *p, admissionregv1.Equivalent, admissionregv1.Exact)...)
	}
	if w.SideEffects == nil {
		errs = append(errs, field.Required(at.Child("sideEffects"), "must specify one of None, NoneOnDryRun"))
	} else {
		errs = append(errs, oneOf(at.Child("sideEffects"), *w.SideEffects, admissionregv1.SideEffectClassNone, admissionregv1.SideEffectClassNoneOnDryRun)...)
	}
	if t := w.TimeoutSeconds; t != nil && (*t < 1 || *t > 30) {
		errs = append(errs, field.Invalid(at.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	errs = append(errs, validateLabelSelector(w.NamespaceSelector, at.Child("namespaceSelector"))...)
	errs = append(errs, validateLabelSelector(w.ObjectSelector, at.Child("objectSelector"))...)
	if p := w.ReinvocationPolicy; p != nil {
		errs = append(errs, oneOf(at.Child("reinvocationPolicy"), *p, admissionregv1.IfNeededReinvocationPolicy, admissionregv1.NeverReinvocationPolicy)...)
	}
	errs = append(errs, validateClientConfig(&w.ClientConfig, at.Child("clientConfig"))...)
	errs = append(errs, validateReviewVersions(w.AdmissionReviewVersions, at.Child("admissionReviewVersions"))...)
	return append(errs, validateMatchConditions(w.MatchConditions, at.Child("matchConditions"))...)
}

func validateReviewVersions(list []string, at *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(at, "must specify one of v1, v1beta1")}
	}
	var errs field.ErrorList
	known := false
	for i, v := range list {
		errs = append(errs, check(at.Index(i), v, validation.IsDNS1035Label(v))...)
		if slices.Contains(list[:i], v) {
			errs = append(errs, field.Invalid(at.Index(i), v, "duplicate version"))
		}
		known = known || v == "v1" || v == "v1beta1"
	}
	if !known {
		errs = append(errs, field.Invalid(at, list, "must include at least one of v1, v1beta1"))
	}
	return errs
}

func validateAdmissionRule(r *admissionregv1.RuleWithOperations, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	p := at.Child("operations")
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(p, ""))
	}
	for i, o := range r.Operations {
		errs = append(errs, oneOf(p.Index(i), o, admissionregv1.OperationAll, admissionregv1.Connect, admissionregv1.Create, admissionregv1.Delete,
			admissionregv1.Update)...)
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionregv1.OperationAll) {
		errs = append(errs, field.Invalid(p, r.Operations, "if '*' is present, must not specify other operations"))
	}
	star := func(name string, list []string) {
		p := at.Child(name)
		if len(list) == 0 {
			errs = append(errs, field.Required(p, ""))
		}
		if len(list) > 1 && slices.Contains(list, "*") {
			errs = append(errs, field.Invalid(p, list, "if '*' is present, must not specify other "+map[string]string{
				"apiGroups": "API groups", "apiVersions": "API versions"}[name]))
		}
	}
	star("apiGroups", r.APIGroups)
	star("apiVersions", r.APIVersions)
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(at.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateRuleResources(r.Resources, at.Child("resources"))...)
	if s := r.Scope; s != nil {
		errs = append(errs, oneOf(at.Child("scope"), *s, admissionregv1.AllScopes, admissionregv1.ClusterScope, admissionregv1.NamespacedScope)...)
	}
	return errs
}

func validateRuleResources(list []string, at *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	kinds, parts := sets.New[string](), sets.New[string]() // what "pods/*" and "*/scale" stand for
	for i, r := range list {
		if r == "" {
			errs = append(errs, field.Required(at.Index(i), ""))
		}
		if res, sub, ok := strings.Cut(r, "/"); ok {
			if sub == "*" {
				kinds.Insert(res)
			}
			if res == "*" {
				parts.Insert(sub)
			}
		}
	}
	for i, r := range list {
		res, sub, ok := strings.Cut(r, "/")
		if ok && sub != "*" && kinds.Has(res) {
			errs = append(errs, field.Invalid(at.Index(i), r, fmt.Sprintf("if '%s/*' is present, must not specify %s", res, r)))
		}
		if ok && res != "*" && parts.Has(sub) {
			errs = append(errs, field.Invalid(at.Index(i), r, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, r)))
		}
	}
	if len(list) > 1 && slices.Contains(list, "*/*") {
		errs = append(errs, field.Invalid(at, list, "if '*/*' is present, must not specify other resources"))
	}
	plain := func(r string) bool { return !strings.Contains(r, "/") }
	if slices.Contains(list, "*") && slices.ContainsFunc(list, func(r string) bool { return r != "*" && plain(r) }) {
		errs = append(errs, field.Invalid(at, list, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}

func validateClientConfig(c *admissionregv1.WebhookClientConfig, at *field.Path) field.ErrorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(at, "exactly one of url or service is required")}
	case c.URL != nil:
		return validateWebhookURL(*c.URL, at.Child("url"))
	}
	// Errors name the two the wrong way round, as clients have always seen.
	return validateWebhookService(at.Child("service"), c.Service.Namespace, c.Service.Name, c.Service.Path, deref(c.Service.Port, 443))
}

// validateWebhookURL wants https, a host, and neither user nor fragment nor query.
func validateWebhookURL(text string, at *field.Path) field.ErrorList {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		return field.ErrorList{field.Required(at, "url must be a valid URL: "+err.Error()+form)}
	}
	var errs field.ErrorList
	bad := func(value, why string) { errs = append(errs, field.Invalid(at, value, why+form)) }
	if u.Scheme != "https" {
		bad(u.Scheme, "'https' is the only allowed URL scheme")
	}
	if u.Host == "" {
		bad(u.Host, "host must be specified")
	}
	if u.User != nil {
		// The password is not repeated.
		errs = append(errs, field.Invalid(at, u.User.Username(), "user information is not permitted in the URL"))
	}
	if u.Fragment != "" {
		errs = append(errs, field.Invalid(at, u.Fragment, "fragments are not permitted in the URL"))
	}
	if u.RawQuery != "" {
		errs = append(errs, field.Invalid(at, u.RawQuery, "query parameters are not permitted in the URL"))
	}
	return errs
}

// validateWebhookService judges a reference to the service that answers a webhook.
func validateWebhookService(at *field.Path, name, namespace string, path *string, port int32) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	if namespace == "" {
		errs = append(errs, field.Required(at.Child("namespace"), ""))
	}
	if bad := validation.IsValidPortNum(int(port)); len(bad) > 0 {
		errs = append(errs, field.Invalid(at.Child("port"), port, "port is not valid: "+strings.Join(bad, ",")))
	}
	if path == nil {
		return errs
	}
	p := at.Child("path")
	if *path == "/" || *path == "" {
		return errs
	}
	if !strings.HasPrefix(*path, "/") {
		errs = append(errs, field.Invalid(p, *path, "must start with a '/'"))
	}
	steps := strings.Split(strings.TrimSuffix((*path)[1:], "/"), "/")
	for i, s := range steps {
		if s == "" {
			errs = append(errs, field.Invalid(p, *path, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, why := range validation.IsDNS1123Subdomain(s) {
			errs = append(errs, field.Invalid(p, *path, fmt.Sprintf("segment[%d]: %s", i, why)))
		}
	}
	return errs
}

func validateMatchConditions(list []admissionregv1.MatchCondition, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > 64 {
		errs = append(errs, field.TooMany(at, len(list), 64))
	}
	names := sets.Set[string]{}
	for i, c := range list {
		p := at.Index(i)
		if strings.TrimSpace(c.Expression) == "" {
			errs = append(errs, field.Required(p.Child("expression"), ""))
		}
		if c.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
			continue
		}
		errs = append(errs, check(p.Child("name"), c.Name, nameIsQualified(c.Name))...)
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), c.Name))
		}
		names.Insert(c.Name)
	}
	return errs
}

package authz

import (
	"context"
	"errors"
	"fmt"

	authzv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/object"
	"hyperkube/internal/server/request"
)

// Reviews answers the reviews of the group authorization.k8s.io.
type Reviews struct{ az *Authorizer }

// NewReviews makes the handlers for an authorizer.
func NewReviews(a *Authorizer) *Reviews { return &Reviews{a} }

// SubjectAccessReview says whether somebody may do something.
func (r *Reviews) SubjectAccessReview(ctx context.Context, _ *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authzv1.SubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SubjectAccessReview: %T", body))
	}
	out := in.DeepCopy()
	if errs := append(validateReview(&in.Spec), onlyManagers(in.ObjectMeta, "must be empty")...); len(errs) > 0 {
		return nil, invalid(errs)
	}
	out.Status = r.decide(ctx, attributes(subjectOf(&in.Spec), in.Spec.ResourceAttributes, in.Spec.NonResourceAttributes))
	return out, nil
}

// LocalSubjectAccessReview is SubjectAccessReview for one namespace.
func (r *Reviews) LocalSubjectAccessReview(ctx context.Context, req *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authzv1.LocalSubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a LocalSubjectAccessReview: %T", body))
	}
	errs := validateReview(&in.Spec)
	path := field.NewPath("spec")
	if in.Spec.NonResourceAttributes != nil {
		errs = append(errs, field.Invalid(path.Child("nonResourceAttributes"), shownPath(in.Spec.NonResourceAttributes), "disallowed on this kind of request"))
	}
	rest := in.ObjectMeta
	rest.Namespace = ""
	if len(onlyManagers(rest, "")) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), in.ObjectMeta, "must be empty except for namespace"))
	}
	if ra := in.Spec.ResourceAttributes; ra != nil && ra.Namespace != req.Namespace {
		errs = append(errs, field.Invalid(path.Child("resourceAttributes", "namespace"), ra.Namespace, "must match metadata.namespace"))
	}
	if len(errs) > 0 {
		return nil, invalid(errs)
	}
	out := in.DeepCopy()
	out.Namespace = req.Namespace
	out.Status = r.decide(ctx, attributes(subjectOf(&in.Spec), in.Spec.ResourceAttributes, nil))
	return out, nil
}

// SelfSubjectAccessReview says whether the caller may do something.
func (r *Reviews) SelfSubjectAccessReview(ctx context.Context, req *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authzv1.SelfSubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectAccessReview: %T", body))
	}
	errs := validateAttributes(in.Spec.ResourceAttributes, in.Spec.NonResourceAttributes)
	if errs = append(errs, onlyManagers(in.ObjectMeta, "must be empty")...); len(errs) > 0 {
		return nil, invalid(errs)
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	out := in.DeepCopy()
	out.Status = r.decide(ctx, attributes(req.User, in.Spec.ResourceAttributes, in.Spec.NonResourceAttributes))
	return out, nil
}

// SelfSubjectRulesReview lists what the caller may do in a namespace.
func (r *Reviews) SelfSubjectRulesReview(ctx context.Context, req *request.Request, body object.Object, _ metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authzv1.SelfSubjectRulesReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectRulesReview: %T", body))
	}
	if in.Spec.Namespace == "" {
		return nil, apierrors.NewBadRequest("no namespace on request")
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	out := in.DeepCopy()
	out.Status = authzv1.SubjectRulesReviewStatus{ResourceRules: []authzv1.ResourceRule{}, NonResourceRules: []authzv1.NonResourceRule{}}
	s := &out.Status
	var errs []error
	if _, isNode := NodeName(req.User); isNode && r.az.chain.Load().has(ModeNode) {
		s.Incomplete = true
		errs = append(errs, errors.New("node authorizer does not support user rule resolution"))
	}
	now := r.az.chain.Load()
	if now.has(ModeWebhook) {
		s.Incomplete = true
		errs = append(errs, errors.New("webhook authorizer does not support user rule resolution"))
	}
	if now.has(ModeABAC) {
		s.Incomplete = true
		errs = append(errs, errors.New("the rules of mode ABAC are not listed"))
	}
	if now.has(ModeAlwaysAllow) {
		all := []string{"*"}
		s.ResourceRules = append(s.ResourceRules, authzv1.ResourceRule{Verbs: all, APIGroups: all, Resources: all})
		s.NonResourceRules = append(s.NonResourceRules, authzv1.NonResourceRule{Verbs: all, NonResourceURLs: all})
	}
	if now.has(ModeRBAC) {
		rules, err := r.az.RBAC.RulesFor(ctx, req.User, in.Spec.Namespace)
		if err != nil {
			s.Incomplete = true
			errs = append(errs, err)
		}
		for _, p := range rules {
			if len(p.Resources) > 0 {
				s.ResourceRules = append(s.ResourceRules, authzv1.ResourceRule{Verbs: p.Verbs, APIGroups: p.APIGroups, Resources: p.Resources, ResourceNames: p.ResourceNames})
			}
			if len(p.NonResourceURLs) > 0 {
				s.NonResourceRules = append(s.NonResourceRules, authzv1.NonResourceRule{Verbs: p.Verbs, NonResourceURLs: p.NonResourceURLs})
			}
		}
	}
	if len(errs) > 0 {
		s.EvaluationError = errors.Join(errs...).Error()
	}
	return out, nil
}

func (r *Reviews) decide(ctx context.Context, a authorizer.AttributesRecord) authzv1.SubjectAccessReviewStatus {
	d, reason, err := r.az.Authorize(ctx, a)
	s := authzv1.SubjectAccessReviewStatus{Allowed: d == authorizer.DecisionAllow, Denied: d == authorizer.DecisionDeny, Reason: reason}
	if err = errors.Join(err, a.FieldSelectorParsingErr, a.LabelSelectorParsingErr); err != nil {
		s.EvaluationError = err.Error()
	}
	return s
}

func subjectOf(s *authzv1.SubjectAccessReviewSpec) user.Info {
	u := &user.DefaultInfo{Name: s.User, Groups: s.Groups, UID: s.UID}
	if len(s.Extra) > 0 {
		u.Extra = make(map[string][]string, len(s.Extra))
		for k, v := range s.Extra {
			u.Extra[k] = v
		}
	}
	return u
}

// attributes are the request that a review asks about.
func attributes(u user.Info, ra *authzv1.ResourceAttributes, nra *authzv1.NonResourceAttributes) authorizer.AttributesRecord {
	if nra != nil {
		return authorizer.AttributesRecord{User: u, Verb: nra.Verb, Path: nra.Path}
	}
	a := authorizer.AttributesRecord{User: u, Verb: ra.Verb, Namespace: ra.Namespace, APIGroup: ra.Group, APIVersion: ra.Version,
		Resource: ra.Resource, Subresource: ra.Subresource, Name: ra.Name, ResourceRequest: true}
	if a.APIVersion == "" {
		a.APIVersion = "*"
	}
	if s := ra.FieldSelector; s != nil {
		a.FieldSelectorRequirements, a.FieldSelectorParsingErr = fieldRequirements(s)
	}
	if s := ra.LabelSelector; s != nil {
		a.LabelSelectorRequirements, a.LabelSelectorParsingErr = labelRequirements(s)
	}
	return a
}

func fieldRequirements(s *authzv1.FieldSelectorAttributes) (fields.Requirements, error) {
	if s.RawSelector != "" {
		parsed, err := fields.ParseSelector(s.RawSelector)
		if err != nil {
			return nil, err
		}
		return parsed.Requirements(), nil
	}
	var out fields.Requirements
	var errs []error
	for _, r := range s.Requirements {
		switch {
		case r.Operator == metav1.FieldSelectorOpIn && len(r.Values) == 1:
			out = append(out, fields.Requirement{Operator: selection.Equals, Field: r.Key, Value: r.Values[0]})
		case r.Operator == metav1.FieldSelectorOpNotIn && len(r.Values) == 1:
			out = append(out, fields.Requirement{Operator: selection.NotEquals, Field: r.Key, Value: r.Values[0]})
		default:
			// What cannot be understood is left out: that asks for more than the client wanted, never for less.
			errs = append(errs, fmt.Errorf("cannot use the field requirement on %q with operator %q", r.Key, r.Operator))
		}
	}
	return out, errors.Join(errs...)
}

func labelRequirements(s *authzv1.LabelSelectorAttributes) (labels.Requirements, error) {
	if s.RawSelector != "" {
		parsed, err := labels.Parse(s.RawSelector)
		if err != nil {
			return nil, err
		}
		out, _ := parsed.Requirements()
		return out, nil
	}
	var out labels.Requirements
	var errs []error
	for _, r := range s.Requirements {
		one, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{r}})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		reqs, _ := one.Requirements()
		out = append(out, reqs...)
	}
	return out, errors.Join(errs...)
}

func validateReview(s *authzv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := validateChoice(s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified"))
	}
	return append(errs, validateSelectors(s.ResourceAttributes)...)
}

func validateAttributes(ra *authzv1.ResourceAttributes, nra *authzv1.NonResourceAttributes) field.ErrorList {
	return append(validateChoice(ra, nra), validateSelectors(ra)...)
}

func validateChoice(ra *authzv1.ResourceAttributes, nra *authzv1.NonResourceAttributes) field.ErrorList {
	if (ra == nil) != (nra == nil) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec"), shownPath(nra), "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
}

// shownPath is the attributes of a path by the names that clients know from errors.
func shownPath(nra *authzv1.NonResourceAttributes) *struct{ Path, Verb string } {
	if nra == nil {
		return nil
	}
	return &struct{ Path, Verb string }{nra.Path, nra.Verb}
}

func validateSelectors(ra *authzv1.ResourceAttributes) field.ErrorList {
	if ra == nil {
		return nil
	}
	path := field.NewPath("spec", "resourceAttributes")
	var errs field.ErrorList
	if s := ra.FieldSelector; s != nil {
		at := path.Child("fieldSelector")
		errs = append(errs, oneForm(s.RawSelector, len(s.Requirements), at)...)
		for i, r := range s.Requirements {
			errs = append(errs, validateFieldRequirement(&r, at.Child("requirements").Index(i))...)
		}
	}
	if s := ra.LabelSelector; s != nil {
		at := path.Child("labelSelector")
		errs = append(errs, oneForm(s.RawSelector, len(s.Requirements), at)...)
		for i, r := range s.Requirements {
			errs = append(errs, validateLabelRequirement(r, at.Child("requirements").Index(i))...)
		}
	}
	return errs
}

// oneForm wants a selector as text or in parts.
func oneForm(raw string, parts int, at *field.Path) field.ErrorList {
	switch {
	case raw != "" && parts > 0:
		return field.ErrorList{field.Invalid(at.Child("rawSelector"), raw, "may not specified at the same time as requirements")}
	case raw == "" && parts == 0:
		return field.ErrorList{field.Required(at.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", at))}
	}
	return nil
}

// validateFieldRequirement holds a requirement to what its type documents: a key, and values for the operators that compare.
func validateFieldRequirement(r *metav1.FieldSelectorRequirement, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Key == "" {
		errs = append(errs, field.Required(at.Child("key"), "must be specified"))
	}
	switch r.Operator {
	case metav1.FieldSelectorOpIn, metav1.FieldSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case metav1.FieldSelectorOpExists, metav1.FieldSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	}
	return errs
}

// validateLabelRequirement lets operators of later versions pass: what cannot be understood of a selector is left out when it is used.
func validateLabelRequirement(r metav1.LabelSelectorRequirement, at *field.Path) field.ErrorList {
	switch r.Operator {
	case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
		return metavalidation.ValidateLabelSelectorRequirement(r, metavalidation.LabelSelectorValidationOptions{}, at)
	}
	return metavalidation.ValidateLabelName(r.Key, at.Child("key"))
}

// onlyManagers wants metadata to say nothing but who manages what, which the server adds.
func onlyManagers(meta metav1.ObjectMeta, why string) field.ErrorList {
	rest := meta
	rest.ManagedFields = nil
	if apiequality.Semantic.DeepEqual(rest, metav1.ObjectMeta{}) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), meta, why)}
}

// invalid names no kind, as clients are used to.
func invalid(errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: authzv1.GroupName}, "", errs)
}

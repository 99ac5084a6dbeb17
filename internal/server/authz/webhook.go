package authz

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"
	authzv1 "k8s.io/api/authorization/v1"
	authzv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/utils/lru"

	"hyperkube/internal/server/webhook"
)

const (
	// answersKept bounds the remembered answers of a webhook, questionSize those that are worth it, in bytes.
	answersKept  = 8192
	questionSize = 10000
)

// asked is a webhook that decides.
type asked struct {
	name    string
	remote  *webhook.Remote
	version string
	// allowedFor and otherFor are how long answers are remembered; zero: not.
	allowedFor, otherFor time.Duration
	onError              authorizer.Decision
	when                 *authorizationcel.CELMatcher // nil: always
	metrics              *metrics
	answers              *lru.Cache
	calls                singleflight.Group
}

type answer struct {
	authzv1.SubjectAccessReviewStatus
	until time.Time
}

func newWebhook(name string, c *apiserver.WebhookConfiguration, m *metrics) (*asked, error) {
	a := &asked{name: name, version: c.SubjectAccessReviewVersion, onError: authorizer.DecisionNoOpinion, metrics: m, answers: lru.New(answersKept)}
	if c.SubjectAccessReviewVersion != "v1" && c.SubjectAccessReviewVersion != "v1beta1" {
		return nil, fmt.Errorf("--authorization-webhook-version: %q is not known; there are v1, v1beta1", c.SubjectAccessReviewVersion)
	}
	if c.FailurePolicy == apiserver.FailurePolicyDeny {
		a.onError = authorizer.DecisionDeny
	}
	if c.CacheAuthorizedRequests {
		a.allowedFor = c.AuthorizedTTL.Duration
	}
	if c.CacheUnauthorizedRequests {
		a.otherFor = c.UnauthorizedTTL.Duration
	}
	if len(c.MatchConditions) > 0 {
		when, errs := validation.ValidateAndCompileMatchConditions(authorizationcel.NewDefaultCompiler(), c.MatchConditions)
		if len(errs) > 0 {
			return nil, errs.ToAggregate()
		}
		when.Metrics, when.AuthorizerName, when.AuthorizerType = m, name, ModeWebhook
		a.when = when
	}
	if c.ConnectionInfo.KubeConfigFile == nil {
		return nil, fmt.Errorf("authorizer %s: connectionInfo.kubeConfigFile is missing", name)
	}
	var err error
	if a.remote, err = webhook.FromKubeconfig(*c.ConnectionInfo.KubeConfigFile, webhook.Backoff{Timeout: c.Timeout.Duration}); err != nil {
		return nil, fmt.Errorf("the kubeconfig of authorization webhook %s: %w", name, err)
	}
	return a, nil
}

// Authorize implements Decider.
func (a *asked) Authorize(ctx context.Context, at authorizer.Attributes) (authorizer.Decision, string, error) {
	review := reviewOf(at)
	if a.when != nil {
		ok, err := a.when.Eval(ctx, review)
		if err != nil {
			slog.Default().Warn("the match conditions of an authorization webhook cannot be evaluated", "component", "authz", "authorizer", a.name, "err", err)
			if a.onError == authorizer.DecisionNoOpinion {
				err = nil // the webhook is left out
			}
			return a.onError, "", err
		}
		if !ok {
			return authorizer.DecisionNoOpinion, "", nil
		}
	}
	s, err := a.status(ctx, review)
	switch {
	case err != nil:
		if a.onError == authorizer.DecisionNoOpinion {
			a.metrics.failOpen.WithLabelValues(a.name, resultOf(err)).Inc()
		}
		return a.onError, "", err
	case s.Allowed && s.Denied:
		return authorizer.DecisionDeny, s.Reason, fmt.Errorf("authorization webhook %s both allows and denies the request", a.name)
	case s.Denied:
		return authorizer.DecisionDeny, s.Reason, nil
	case s.Allowed:
		return authorizer.DecisionAllow, s.Reason, nil
	}
	if s.EvaluationError != "" {
		return authorizer.DecisionNoOpinion, s.Reason, errors.New(s.EvaluationError)
	}
	return authorizer.DecisionNoOpinion, s.Reason, nil
}

// status is the webhook's answer, or what it answered to the same question before.
func (a *asked) status(ctx context.Context, review *authzv1.SubjectAccessReview) (*authzv1.SubjectAccessReviewStatus, error) {
	question, err := json.Marshal(&review.Spec)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(question)
	if known, ok := a.answers.Get(key); ok && time.Now().Before(known.(*answer).until) {
		return &known.(*answer).SubjectAccessReviewStatus, nil
	}
	got := a.calls.DoChan(string(key[:]), func() (any, error) {
		s, err := a.ask(context.WithoutCancel(ctx), review) // others wait for the same answer
		if err != nil {
			return nil, err
		}
		keep := a.otherFor
		if s.Allowed {
			keep = a.allowedFor
		}
		if keep > 0 && len(question) <= questionSize {
			a.answers.Add(key, &answer{*s, time.Now().Add(keep)})
		}
		return s, nil
	})
	select {
	case r := <-got:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*authzv1.SubjectAccessReviewStatus), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("authorization webhook %s does not answer: %w", a.name, ctx.Err())
	}
}

func (a *asked) ask(ctx context.Context, review *authzv1.SubjectAccessReview) (s *authzv1.SubjectAccessReviewStatus, err error) {
	start := time.Now()
	defer func() { a.metrics.call(a.name, resultOf(err), start) }()
	body, err := a.body(review)
	if err != nil {
		return nil, err
	}
	data, err := a.remote.Post(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("authorization webhook %s could not be asked: %w", a.name, err)
	}
	var out authzv1.SubjectAccessReview // the status is the same in both versions
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("the answer of authorization webhook %s cannot be read: %w", a.name, err)
	}
	if want := authzv1.GroupName + "/" + a.version; out.APIVersion != want || out.Kind != "SubjectAccessReview" {
		return nil, fmt.Errorf("authorization webhook %s answered with %s, %s, not %s, SubjectAccessReview", a.name, out.APIVersion, out.Kind, want)
	}
	return &out.Status, nil
}

// resultOf is the word for an outcome in metrics.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "success"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "error"
}

// body is the question in the version that the webhook speaks.
func (a *asked) body(review *authzv1.SubjectAccessReview) ([]byte, error) {
	kind := metav1.TypeMeta{APIVersion: authzv1.GroupName + "/" + a.version, Kind: "SubjectAccessReview"}
	if a.version == "v1" {
		review.TypeMeta = kind
		return json.Marshal(review)
	}
	data, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	var old authzv1beta1.SubjectAccessReview
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, err
	}
	old.TypeMeta, old.Spec.Groups = kind, review.Spec.Groups // its name in JSON is another
	return json.Marshal(&old)
}

// reviewOf asks about a request.
func reviewOf(at authorizer.Attributes) *authzv1.SubjectAccessReview {
	r := &authzv1.SubjectAccessReview{}
	if u := at.GetUser(); u != nil {
		r.Spec.User, r.Spec.UID, r.Spec.Groups = u.GetName(), u.GetUID(), u.GetGroups()
		if extra := u.GetExtra(); len(extra) > 0 {
			r.Spec.Extra = make(map[string]authzv1.ExtraValue, len(extra))
			for k, v := range extra {
				r.Spec.Extra[k] = v
			}
		}
	}
	if !at.IsResourceRequest() {
		r.Spec.NonResourceAttributes = &authzv1.NonResourceAttributes{Path: at.GetPath(), Verb: at.GetVerb()}
		return r
	}
	r.Spec.ResourceAttributes = &authzv1.ResourceAttributes{Namespace: at.GetNamespace(), Verb: at.GetVerb(), Group: at.GetAPIGroup(), Version: at.GetAPIVersion(),
		Resource: at.GetResource(), Subresource: at.GetSubresource(), Name: at.GetName(), FieldSelector: fieldsOf(at), LabelSelector: labelsOf(at)}
	return r
}

// fieldsOf are the requirements on fields that can be told; those that cannot only make the question wider.
func fieldsOf(at authorizer.Attributes) *authzv1.FieldSelectorAttributes {
	list, err := at.GetFieldSelector()
	if err != nil || len(list) == 0 {
		return nil
	}
	var out []metav1.FieldSelectorRequirement
	for _, r := range list {
		switch r.Operator {
		case selection.Equals, selection.DoubleEquals, selection.In:
			out = append(out, metav1.FieldSelectorRequirement{Key: r.Field, Operator: metav1.FieldSelectorOpIn, Values: []string{r.Value}})
		case selection.NotEquals, selection.NotIn:
			out = append(out, metav1.FieldSelectorRequirement{Key: r.Field, Operator: metav1.FieldSelectorOpNotIn, Values: []string{r.Value}})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &authzv1.FieldSelectorAttributes{Requirements: out}
}

func labelsOf(at authorizer.Attributes) *authzv1.LabelSelectorAttributes {
	list, err := at.GetLabelSelector()
	if err != nil || len(list) == 0 {
		return nil
	}
	var out []metav1.LabelSelectorRequirement
	for _, r := range list {
		q := metav1.LabelSelectorRequirement{Key: r.Key(), Values: r.ValuesUnsorted()}
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			q.Operator = metav1.LabelSelectorOpIn
		case selection.NotEquals, selection.NotIn:
			q.Operator = metav1.LabelSelectorOpNotIn
		case selection.Exists:
			q.Operator = metav1.LabelSelectorOpExists
		case selection.DoesNotExist:
			q.Operator = metav1.LabelSelectorOpDoesNotExist
		default:
			continue
		}
		out = append(out, q)
	}
	if len(out) == 0 {
		return nil
	}
	return &authzv1.LabelSelectorAttributes{Requirements: out}
}

package object

import (
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kinds that are not stored: the server has a handler for each.

func bindingKind() *Kind {
	return virtual(review[corev1.Binding](corev1.SchemeGroupVersion, "Binding"), "bindings", "binding", Namespaced)
}

func componentStatusKind() *Kind {
	k := virtual(version[corev1.ComponentStatus, corev1.ComponentStatusList](corev1.SchemeGroupVersion, "ComponentStatus"),
		"componentstatuses", "componentstatus", Cluster)
	k.ShortNames = []string{"cs"}
	k.Deprecated = "v1 ComponentStatus is deprecated in v1.19+"
	k.Verbs = []string{"get", "list"}
	k.Columns = []metav1.TableColumnDefinition{
		nameColumn(),
		column("Status", "string", "Status of the component conditions"),
		column("Message", "string", "Message of the component conditions"),
		column("Error", "string", "Error of the component conditions"),
	}
	k.Cells = cells(func(c *corev1.ComponentStatus, _ time.Time) []any {
		status, message, errorText := "Unknown", "", ""
		for _, cond := range c.Conditions {
			if cond.Type != corev1.ComponentHealthy {
				continue
			}
			status = "Unhealthy"
			if cond.Status == corev1.ConditionTrue {
				status = "Healthy"
			}
			message, errorText = cond.Message, cond.Error
		}
		return []any{c.Name, status, message, errorText}
	})
	return k
}

func tokenReviewKind() *Kind {
	return virtual(review[authenticationv1.TokenReview](authenticationv1.SchemeGroupVersion, "TokenReview"),
		"tokenreviews", "tokenreview", Cluster)
}

func selfSubjectReviewKind() *Kind {
	return virtual(review[authenticationv1.SelfSubjectReview](authenticationv1.SchemeGroupVersion, "SelfSubjectReview"),
		"selfsubjectreviews", "selfsubjectreview", Cluster)
}

func subjectAccessReviewKind() *Kind {
	return virtual(review[authorizationv1.SubjectAccessReview](authorizationv1.SchemeGroupVersion, "SubjectAccessReview"),
		"subjectaccessreviews", "subjectaccessreview", Cluster)
}

func localSubjectAccessReviewKind() *Kind {
	return virtual(review[authorizationv1.LocalSubjectAccessReview](authorizationv1.SchemeGroupVersion, "LocalSubjectAccessReview"),
		"localsubjectaccessreviews", "localsubjectaccessreview", Namespaced)
}

func selfSubjectAccessReviewKind() *Kind {
	return virtual(review[authorizationv1.SelfSubjectAccessReview](authorizationv1.SchemeGroupVersion, "SelfSubjectAccessReview"),
		"selfsubjectaccessreviews", "selfsubjectaccessreview", Cluster)
}

func selfSubjectRulesReviewKind() *Kind {
	return virtual(review[authorizationv1.SelfSubjectRulesReview](authorizationv1.SchemeGroupVersion, "SelfSubjectRulesReview"),
		"selfsubjectrulesreviews", "selfsubjectrulesreview", Cluster)
}

func virtual(v Version, resource, singular string, scope Scope) *Kind {
	return &Kind{
		Versions: []Version{v},
		Resource: resource,
		Singular: singular,
		Scope:    scope,
		Verbs:    []string{"create"},
		Virtual:  true,
	}
}

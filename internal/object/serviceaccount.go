package object

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func serviceAccountKind() *Kind {
	return &Kind{
		Versions: []Version{version[corev1.ServiceAccount, corev1.ServiceAccountList](
			corev1.SchemeGroupVersion, "ServiceAccount")},
		Resource:      "serviceaccounts",
		Singular:      "serviceaccount",
		ShortNames:    []string{"sa"},
		Scope:         Namespaced,
		StoragePrefix: "serviceaccounts",
		Strategy:      rules[*corev1.ServiceAccount]{}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{
			handled("token", schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest"}, "create"),
		},
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(s *corev1.ServiceAccount, now time.Time) []any {
			return []any{s.Name, age(s, now)}
		}),
	}
}

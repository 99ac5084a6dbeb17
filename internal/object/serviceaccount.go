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
		Strategy: rules[*corev1.ServiceAccount]{
			PrepareCreate: onlySecretNames,
			PrepareUpdate: func(s, _ *corev1.ServiceAccount) { onlySecretNames(s) },
			Warnings:      serviceAccountWarnings,
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{
			handled("token", schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest"}, "create"),
		},
		Columns: []metav1.TableColumnDefinition{nameColumn(), ageColumn()},
		Cells: cells(func(s *corev1.ServiceAccount, now time.Time) []any {
			return []any{s.Name, age(s, now)}
		}),
	}
}

// onlySecretNames: an account's secrets are in its namespace, so that their names say all.
func onlySecretNames(s *corev1.ServiceAccount) {
	for i := range s.Secrets {
		s.Secrets[i] = corev1.ObjectReference{Name: s.Secrets[i].Name}
	}
}

func serviceAccountWarnings(s, old *corev1.ServiceAccount) []string {
	const key = "kubernetes.io/enforce-mountable-secrets"
	value, there := s.Annotations[key]
	if !there || old != nil && old.Annotations[key] == value {
		return nil
	}
	return []string{metadataPath.Child("annotations").Key(key).String() + ": deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
}

package object

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func secretKind() *Kind {
	d := doc(corev1.Secret{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[corev1.Secret, corev1.SecretList](corev1.SchemeGroupVersion, "Secret")},
		Resource:      "secrets",
		Singular:      "secret",
		Scope:         Namespaced,
		StoragePrefix: "secrets",
		Strategy: rules[*corev1.Secret]{
			Default: func(s *corev1.Secret) {
				if s.Type == "" {
					s.Type = corev1.SecretTypeOpaque
				}
				// stringData is for writing only: it goes into data, over what is there.
				for key, value := range s.StringData {
					if s.Data == nil {
						s.Data = map[string][]byte{}
					}
					s.Data[key] = []byte(value)
				}
				s.StringData = nil
			},
			PrepareUpdate: func(s, old *corev1.Secret) {
				if s.Type == "" {
					s.Type = old.Type
				}
			},
			ValidateCreate: validateSecret,
			ValidateUpdate: validateSecretUpdate,
			Warnings:       secretWarnings,
		}.full(Namespaced, nameIsSubdomain),
		FieldNames: []string{"type"},
		Fields:     selectableFields(func(s *corev1.Secret) fields.Set { return fields.Set{"type": string(s.Type)} }),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Type", "string", d["type"]),
			column("Data", "string", d["data"]),
			ageColumn(),
		},
		Cells: cells(func(s *corev1.Secret, now time.Time) []any {
			return []any{s.Name, string(s.Type), int64(len(s.Data)), age(s, now)}
		}),
	}
}

func validateSecret(s *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	size := 0
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, check(data.Key(key), key, validation.IsConfigMapKey(key))...)
		size += len(s.Data[key])
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(data, "", corev1.MaxSecretSize))
	}
	needs := func(keys ...string) {
		for _, key := range keys {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), ""))
			}
		}
	}
	isJSON := func(key string) {
		value, ok := s.Data[key]
		if !ok {
			return
		}
		var content map[string]any
		if err := json.Unmarshal(value, &content); err != nil {
			// The content is secret: the error does not repeat it.
			errs = append(errs, field.Invalid(data.Key(key), "<secret contents redacted>", err.Error()))
		}
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(metadataPath.Child("annotations").Key(corev1.ServiceAccountNameKey), ""))
		}
	case corev1.SecretTypeDockercfg:
		needs(corev1.DockerConfigKey)
		isJSON(corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		needs(corev1.DockerConfigJsonKey)
		isJSON(corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := s.Data[corev1.BasicAuthUsernameKey]
		_, password := s.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			needs(corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
		}
	case corev1.SecretTypeSSHAuth:
		if len(s.Data[corev1.SSHAuthPrivateKey]) == 0 {
			errs = append(errs, field.Required(data.Key(corev1.SSHAuthPrivateKey), ""))
		}
	case corev1.SecretTypeTLS:
		needs(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return errs
}

func validateSecretUpdate(s, old *corev1.Secret) field.ErrorList {
	errs := immutable(s.Type, old.Type, field.NewPath("type"))
	if !deref(old.Immutable, false) {
		return append(errs, validateSecret(s)...)
	}
	if !deref(s.Immutable, false) {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), immutableData))
	}
	if !apiequality.Semantic.DeepEqual(s.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), immutableData))
	}
	return append(errs, validateSecret(s)...)
}

// secretWarnings tells of a certificate that its key is not of.
func secretWarnings(s, _ *corev1.Secret) []string {
	cert, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	if s.Type != corev1.SecretTypeTLS || cert == nil || key == nil {
		return nil
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return []string{err.Error()}
	}
	return nil
}

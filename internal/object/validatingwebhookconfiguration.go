package object

import (
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatingWebhookConfigurationKind() *Kind {
	type config = admissionregv1.ValidatingWebhookConfiguration
	return &Kind{
		Versions: []Version{version[config, admissionregv1.ValidatingWebhookConfigurationList](
			admissionregv1.SchemeGroupVersion, "ValidatingWebhookConfiguration")},
		Resource:      "validatingwebhookconfigurations",
		Singular:      "validatingwebhookconfiguration",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingwebhookconfigurations",
		Strategy: rules[*config]{
			Default: func(c *config) {
				for i := range c.Webhooks {
					w := &c.Webhooks[i]
					m := asMutating(w)
					defaultWebhook(&m)
					w.FailurePolicy, w.MatchPolicy, w.TimeoutSeconds = m.FailurePolicy, m.MatchPolicy, m.TimeoutSeconds
					w.NamespaceSelector, w.ObjectSelector = m.NamespaceSelector, m.ObjectSelector
				}
			},
			PrepareCreate: func(c *config) { firstGeneration(c) },
			PrepareUpdate: func(c, old *config) { nextGeneration(c, old, c.Webhooks, old.Webhooks) },
			Validate: func(c *config) field.ErrorList {
				hooks := make([]admissionregv1.MutatingWebhook, len(c.Webhooks))
				for i := range c.Webhooks {
					hooks[i] = asMutating(&c.Webhooks[i])
				}
				return validateWebhooks(hooks)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: webhookColumns(),
		Cells: cells(func(c *config, now time.Time) []any {
			return []any{c.Name, int64(len(c.Webhooks)), age(c, now)}
		}),
	}
}

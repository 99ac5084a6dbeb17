package object

import (
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func mutatingWebhookConfigurationKind() *Kind {
	type config = admissionregv1.MutatingWebhookConfiguration
	return &Kind{
		Versions: []Version{version[config, admissionregv1.MutatingWebhookConfigurationList](
			admissionregv1.SchemeGroupVersion, "MutatingWebhookConfiguration")},
		Resource:      "mutatingwebhookconfigurations",
		Singular:      "mutatingwebhookconfiguration",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingwebhookconfigurations",
		Strategy: rules[*config]{
			Default: func(c *config) {
				for i := range c.Webhooks {
					defaultWebhook(&c.Webhooks[i])
					setDefaultPtr(&c.Webhooks[i].ReinvocationPolicy, admissionregv1.NeverReinvocationPolicy)
				}
			},
			PrepareCreate: func(c *config) { firstGeneration(c) },
			PrepareUpdate: func(c, old *config) { nextGeneration(c, old, c.Webhooks, old.Webhooks) },
			Validate:      func(c *config) field.ErrorList { return validateWebhooks(c.Webhooks) },
		}.full(Cluster, nameIsSubdomain),
		Columns: webhookColumns(),
		Cells: cells(func(c *config, now time.Time) []any {
			return []any{c.Name, int64(len(c.Webhooks)), age(c, now)}
		}),
	}
}

func webhookColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		nameColumn(), column("Webhooks", "integer", "Webhooks indicates the number of webhooks registered in this configuration"), ageColumn(),
	}
}

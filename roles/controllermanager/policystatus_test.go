package controllermanager_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

type policy = admissionregistrationv1.ValidatingAdmissionPolicy

var admissionPolicies = client.Resource[*policy]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")}

// policyStatus has a policy checked against the schema of deployments, and again when it was mended.
func policyStatus(t *testing.T, c *cluster) {
	p := &policy{ObjectMeta: metav1.ObjectMeta{Name: "checked"}}
	r := admissionregistrationv1.NamedRuleWithOperations{}
	r.Operations = []admissionregistrationv1.OperationType{admissionregistrationv1.Create}
	r.APIGroups, r.APIVersions, r.Resources = []string{"apps"}, []string{"v1"}, []string{"deployments"}
	p.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{r}}
	p.Spec.Validations = []admissionregistrationv1.Validation{{Expression: "object.replicas > 1"}, {Expression: "object.spec.template.spec.containers.all(c, c.image != '')"}}
	_, err := admissionPolicies.Create(c.ctx, c.admin, p)
	require.NoError(t, err)
	has := func(generation int64, want ...admissionregistrationv1.ExpressionWarning) {
		t.Helper()
		awaitOne(t, c, admissionPolicies, "", "checked", func(p *policy) error {
			if p.Status.ObservedGeneration != generation || p.Status.TypeChecking == nil {
				return errors.New("not checked yet")
			}
			require.Equal(t, want, p.Status.TypeChecking.ExpressionWarnings)
			return nil
		})
	}
	has(1, admissionregistrationv1.ExpressionWarning{FieldRef: "spec.validations[0].expression",
		Warning: "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"})
	_, err = admissionPolicies.Modify(c.ctx, c.admin, "", "checked", func(p *policy) bool {
		p.Spec.Validations[0].Expression = "object.spec.replicas > 1"
		return true
	})
	require.NoError(t, err)
	has(2)
}

// nodeTTL has a node of a small cluster told to look as often as it likes.
func nodeTTL(t *testing.T, c *cluster) {
	c.node(t, "ttl", nil)
	awaitOne(t, c, client.Nodes, "", "ttl", func(n *corev1.Node) error {
		if n.Annotations[corev1.ObjectTTLAnnotationKey] != "0" {
			return errors.New("no annotation yet")
		}
		return nil
	})
}

package access_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Whoever has been told that a rule was written or removed meets it, or does not meet it, in the very next request.
func TestRulesCountAtOnce(t *testing.T) {
	c := start(t)
	admin := c.as(t, c.pair(t, c.files.Admin))
	ctx := t.Context()
	tryOut := func() error {
		_, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "tried"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	configMaps := admissionregistrationv1.RuleWithOperations{Operations: []admissionregistrationv1.OperationType{"CREATE"},
		Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}

	policies, bindings := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies(), admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	_, err := policies.Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: configMaps}}},
		Validations:      []admissionregistrationv1.Validation{{Expression: "false", Message: "none of these"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for range 50 {
		_, err := bindings.Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "none", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.ErrorContains(t, tryOut(), "none of these")
		require.NoError(t, bindings.Delete(ctx, "none", metav1.DeleteOptions{}))
		require.NoError(t, tryOut())
	}

	hooks := admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	for range 50 {
		_, err := hooks.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "nobody"}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "nobody.example.com", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: ptr.To("https://127.0.0.1:1/")},
			Rules: []admissionregistrationv1.RuleWithOperations{configMaps}, SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.ErrorContains(t, tryOut(), "failed calling webhook")
		require.NoError(t, hooks.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
		require.NoError(t, tryOut())
	}

	limits := admin.CoreV1().LimitRanges("default")
	pod := func(cpu string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "tried"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse(cpu)}}}}}}
	}
	_, err = admin.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	l, err := limits.Create(ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "most"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for i := range 50 {
		l.Spec.Limits = []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{"cpu": *resource.NewQuantity(int64(i+1), resource.DecimalSI)}}}
		l, err = limits.Update(ctx, l, metav1.UpdateOptions{})
		require.NoError(t, err)
		_, err = admin.CoreV1().Pods("default").Create(ctx, pod(resource.NewQuantity(int64(i+1), resource.DecimalSI).String()), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
		_, err = admin.CoreV1().Pods("default").Create(ctx, pod(resource.NewQuantity(int64(i+2), resource.DecimalSI).String()), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.True(t, apierrors.IsForbidden(err), err)
	}
}

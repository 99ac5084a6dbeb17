package audit_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server/audit"
)

// TestAdmissionIsTold: what webhooks did stands in the annotations; how, only where bodies are told.
func TestAdmissionIsTold(t *testing.T) {
	ctx := t.Context()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &kind, AuditAnnotations: map[string]string{"note": "seen"},
			Patch: []byte(`[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`)}
		_ = json.NewEncoder(w).Encode(&review)
	}))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "audit.log")
	api, stop := audited(t, audit.Config{PolicyFile: policy(t, everything), File: &audit.FileConfig{Path: path, Format: "json", Delivery: audit.Delivery{Mode: audit.Blocking}}})
	admin := as(t, api, "admin-token", nil)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	hook := func(name, url string, policy arv1.FailurePolicyType) arv1.MutatingWebhook {
		return arv1.MutatingWebhook{Name: name, ClientConfig: arv1.WebhookClientConfig{URL: &url, CABundle: ca}, FailurePolicy: &policy,
			SideEffects: ptr.To(arv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			Rules: []arv1.RuleWithOperations{{Operations: []arv1.OperationType{arv1.Create}, Rule: arv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps", "secrets"}}}}}
	}
	_, err := admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &arv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "conf"},
		Webhooks: []arv1.MutatingWebhook{hook("labels.example.test", srv.URL, arv1.Fail), hook("gone.example.test", "https://127.0.0.1:1/", arv1.Ignore)}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // a configuration is effective a moment after it is stored
		c, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-"}}, metav1.CreateOptions{})
		return err == nil && c.Labels["a"] == "b"
	}, 30*time.Second, time.Millisecond)
	_, err = admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	stop()
	all := events(t, path)
	got := find(all, on("create", "configmaps", "c"))[auditv1.StageResponseComplete].Annotations
	require.JSONEq(t, `{"configuration":"conf","webhook":"labels.example.test","mutated":true}`, got["mutation.webhook.admission.k8s.io/round_0_index_0"])
	require.Equal(t, `{"configuration":"conf","webhook":"labels.example.test","patch":[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}],"patchType":"JSONPatch"}`,
		got["patch.webhook.admission.k8s.io/round_0_index_0"])
	require.Equal(t, "seen", got["labels.example.test/note"])
	require.Equal(t, "gone.example.test", got["failed-open.mutating.webhook.admission.k8s.io/round_0_index_1"])
	got = find(all, on("create", "secrets", "s"))[auditv1.StageResponseComplete].Annotations
	require.Contains(t, got, "mutation.webhook.admission.k8s.io/round_0_index_0")
	require.NotContains(t, got, "patch.webhook.admission.k8s.io/round_0_index_0")
}

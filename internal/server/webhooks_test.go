package server_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/servertest"
)

// hooks is a server of webhooks for tests: /deny, /label, /warn, /hang, /nonsense.
type hooks struct {
	url, ca string
	mu      sync.Mutex
	seen    []admissionv1.AdmissionRequest
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{}
	cert, pem := servertest.Certificate(t)
	h.ca = base64.StdEncoding.EncodeToString(pem)
	released := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		h.mu.Lock()
		h.seen = append(h.seen, *review.Request)
		h.mu.Unlock()
		answer := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		kind := admissionv1.PatchTypeJSONPatch
		switch r.URL.Path {
		case "/deny":
			answer.Allowed, answer.Result = false, &metav1.Status{Message: "not today", Code: 403, Reason: metav1.StatusReasonForbidden}
		case "/label":
			answer.PatchType, answer.Patch = &kind, []byte(`[{"op":"add","path":"/data/from","value":"webhook"}]`)
		case "/warn":
			answer.Warnings = []string{"beware"}
		case "/nonsense":
			answer.UID = "other"
		case "/hang":
			select {
			case <-r.Context().Done():
			case <-released:
			}
		}
		review.Response, review.Request = answer, nil
		if err := json.NewEncoder(w).Encode(&review); err != nil && r.URL.Path != "/hang" {
			t.Error(err)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(func() { close(released); s.Close() })
	h.url = s.URL
	return h
}

// configure makes a configuration with one webhook for config maps of that name; more is added to the webhook.
func (h *hooks) configure(t *testing.T, w *web, kind, path, name, more string) {
	t.Helper()
	body := fmt.Sprintf(`{"metadata":{"name":%q},"webhooks":[{"name":"%s.example.com","clientConfig":{"url":"%s/%s","caBundle":%q},"sideEffects":"None","admissionReviewVersions":["v1"],
		"rules":[{"operations":["*"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"]}],
		"matchConditions":[{"name":"named","expression":"request.name == '%s'"}]%s}]}`, name, name, h.url, path, h.ca, name, more)
	if res, data := w.do("POST", policyPath+kind+"webhookconfigurations", body); res.StatusCode != 201 {
		t.Fatalf("%d %s", res.StatusCode, data)
	}
}

// TestWebhooks has writes judged and changed by webhooks. A configuration is effective a moment after it is stored.
func TestWebhooks(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: authn.Config{Anonymous: true}, Authz: authz.Config{Modes: []string{"AlwaysAllow"}}})
	})
	w, h := newWeb(t, api.REST), newHooks(t)
	create := func(name, query string) (int, string, string) {
		res, data := w.do("POST", cmPath+query, `{"metadata":{"name":"`+name+`"},"data":{"k":"v"}}`)
		return res.StatusCode, string(data), res.Header.Get("Warning")
	}
	until := func(t *testing.T, what string, f func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for !f() {
			if ctx.Err() != nil {
				t.Fatal(what)
			}
		}
	}
	t.Run("refuse", func(t *testing.T) {
		h.configure(t, w, "validating", "deny", "denied", "")
		var text string
		until(t, "nothing was refused", func() bool { var code int; code, text, _ = create("denied", "?dryRun=All"); return code == 403 })
		if !strings.Contains(text, `admission webhook \"denied.example.com\" denied the request: not today`) {
			t.Error(text)
		}
		if code, text, _ := create("other", "?dryRun=All"); code != 201 {
			t.Errorf("a condition does not hold, and yet: %d %s", code, text)
		}
	})
	t.Run("change", func(t *testing.T) {
		h.configure(t, w, "mutating", "label", "changed", "")
		var text string
		until(t, "nothing was changed", func() bool {
			_, text, _ = create("changed", "?dryRun=All")
			return strings.Contains(text, `"from":"webhook"`)
		})
		h.mu.Lock()
		last := h.seen[len(h.seen)-1]
		h.mu.Unlock()
		var cm corev1.ConfigMap
		if err := json.Unmarshal(last.Object.Raw, &cm); err != nil || cm.Kind != "ConfigMap" || cm.Data["k"] != "v" || last.Operation != admissionv1.Create ||
			last.Namespace != "default" || last.DryRun == nil || !*last.DryRun || last.UserInfo.Username == "" || last.Resource.Resource != "configmaps" {
			t.Errorf("%v %+v", err, last)
		}
	})
	t.Run("warn", func(t *testing.T) {
		h.configure(t, w, "validating", "warn", "warned", "")
		until(t, "no warning", func() bool {
			_, _, warning := create("warned", "?dryRun=All")
			return strings.Contains(warning, "beware")
		})
	})
	t.Run("hang", func(t *testing.T) {
		h.configure(t, w, "validating", "hang", "hanging", `,"timeoutSeconds":1`)
		var text string
		until(t, "it did not fail", func() bool { var code int; code, text, _ = create("hanging", "?dryRun=All"); return code == 500 })
		if !strings.Contains(text, `Internal error occurred: failed calling webhook \"hanging.example.com\": failed to call webhook: Post`) || !strings.Contains(text, "/hang?timeout=1s") || !strings.Contains(text, "deadline exceeded") {
			t.Error(text)
		}
		h.configure(t, w, "validating", "hang", "ignored", `,"timeoutSeconds":1,"failurePolicy":"Ignore"`)
		if code, text, _ := create("ignored", "?dryRun=All"); code != 201 {
			t.Errorf("%d %s", code, text)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		h.configure(t, w, "validating", "nonsense", "nonsense", "")
		until(t, "it did not fail", func() bool {
			code, text, _ := create("nonsense", "?dryRun=All")
			return code == 500 && strings.Contains(text, "expected response.uid")
		})
	})
	t.Run("side effects", func(t *testing.T) {
		body := fmt.Sprintf(`{"metadata":{"name":"some"},"webhooks":[{"name":"some.example.com","clientConfig":{"url":"%s/warn","caBundle":%q},"sideEffects":"Some","admissionReviewVersions":["v1"],"rules":[]}]}`, h.url, h.ca)
		if res, data := w.do("POST", policyPath+"validatingwebhookconfigurations", body); res.StatusCode != 422 {
			t.Errorf("%d %s", res.StatusCode, data)
		}
	})
	t.Run("condition that does not compile", func(t *testing.T) {
		body := fmt.Sprintf(`{"metadata":{"name":"bad"},"webhooks":[{"name":"bad.example.com","clientConfig":{"url":"%s/warn"},"sideEffects":"None","admissionReviewVersions":["v1"],"matchConditions":[{"name":"x","expression":"... no"}]}]}`, h.url)
		for _, kind := range []string{"validating", "mutating"} {
			if res, data := w.do("POST", policyPath+kind+"webhookconfigurations", body); res.StatusCode != 422 || !strings.Contains(string(data), "compilation failed") {
				t.Errorf("%d %s", res.StatusCode, data)
			}
		}
	})
	t.Run("metrics", func(t *testing.T) {
		res, data := w.do("GET", "/metrics", "")
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		for _, want := range []string{
			`apiserver_admission_webhook_rejection_count{error_type="no_error",name="denied.example.com",operation="CREATE",rejection_code="403",type="validating"} `,
			`apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="hanging.example.com",operation="CREATE",rejection_code="0",type="validating"} `,
			`apiserver_admission_webhook_fail_open_count{name="ignored.example.com",type="validating"} `,
			`apiserver_admission_webhook_request_total{code="200",name="changed.example.com",operation="CREATE",rejected="false",type="admit"} `,
			`apiserver_admission_webhook_admission_duration_seconds_count{name="denied.example.com",operation="CREATE",rejected="true",type="validating"} `,
			`apiserver_admission_controller_admission_duration_seconds_count{name="ValidatingAdmissionWebhook",operation="CREATE",rejected="true",type="validate"} `,
		} {
			if !strings.Contains(string(data), want) {
				t.Errorf("there is no %s", want)
			}
		}
	})
	t.Run("delete", func(t *testing.T) {
		// Made while nobody objected.
		if code, text, _ := create("kept", ""); code != 201 {
			t.Fatal(code, text)
		}
		h.configure(t, w, "validating", "deny", "kept", "")
		until(t, "it could be deleted", func() bool {
			res, _ := w.do("DELETE", cmPath+"/kept?dryRun=All", "")
			return res.StatusCode == 403
		})
		// Configurations themselves are no webhook's business.
		if res, data := w.do("DELETE", policyPath+"validatingwebhookconfigurations/kept", ""); res.StatusCode != 200 {
			t.Errorf("%d %s", res.StatusCode, data)
		}
		until(t, "it could not be deleted", func() bool {
			res, _ := w.do("DELETE", cmPath+"/kept?dryRun=All", "")
			return res.StatusCode == 200
		})
	})
}

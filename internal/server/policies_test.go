package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/servertest"
)

const policyPath = "/apis/admissionregistration.k8s.io/v1/"

// policy makes a policy for deployments in the namespace default, and its binding.
func policy(t *testing.T, w *web, kind, name, spec, binding string) {
	t.Helper()
	resource := map[string]string{"Validating": "validatingadmissionpolicies", "Mutating": "mutatingadmissionpolicies"}[kind]
	where := `"matchConstraints":{"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["deployments"]}]}`
	if res, body := w.do("POST", policyPath+resource, `{"metadata":{"name":"`+name+`"},"spec":{`+where+`,`+spec+`}}`); res.StatusCode != 201 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	bindings := strings.TrimSuffix(resource, "ies") + "ybindings"
	if res, body := w.do("POST", policyPath+bindings, `{"metadata":{"name":"`+name+`"},"spec":{"policyName":"`+name+`"`+binding+`}}`); res.StatusCode != 201 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
}

// TestPolicies judges and changes deployments by policies. A policy is effective a moment after its binding, so the first write of each
// is tried until it is.
func TestPolicies(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: authn.Config{Anonymous: true}, Authz: authz.Config{Modes: []string{"AlwaysAllow"}}})
	})
	w := newWeb(t, api.REST)
	create := func(t *testing.T, name string, replicas string, extra ...string) (int, *appsv1.Deployment, metav1.Status, string) {
		t.Helper()
		body := `{"metadata":{"name":"` + name + `","labels":{"app":"x"}},"spec":{"replicas":` + replicas + `,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
		res, data := (&web{t, w.host, w.h}).do("POST", deployments+"?dryRun=All"+strings.Join(extra, ""), body)
		d, st := &appsv1.Deployment{}, metav1.Status{}
		into := any(d)
		if res.StatusCode >= 300 {
			into = &st
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		return res.StatusCode, d, st, res.Header.Get("Warning")
	}
	until := func(t *testing.T, f func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for !f() {
			if ctx.Err() != nil {
				t.Fatal("the policy did not become effective")
			}
		}
	}
	t.Run("refuse", func(t *testing.T) {
		policy(t, w, "Validating", "few", `"variables":[{"name":"n","expression":"object.spec.replicas"}],"validations":[{"expression":"variables.n <= 5","messageExpression":"'wants at most 5, got ' + string(variables.n)"}]`, `,"validationActions":["Deny"]`)
		until(t, func() bool { code, _, _, _ := create(t, "a", "6"); return code == 422 })
		code, _, st, _ := create(t, "a", "6")
		if code != 422 || st.Reason != metav1.StatusReasonInvalid || st.Message != `deployments.apps "a" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: wants at most 5, got 6` {
			t.Errorf("%d %+v", code, st)
		}
		if code, _, st, _ := create(t, "a", "5"); code != 201 {
			t.Errorf("%d %+v", code, st)
		}
	})
	t.Run("warn", func(t *testing.T) {
		policy(t, w, "Validating", "odd", `"validations":[{"expression":"object.spec.replicas % 2 == 0","message":"odd"}]`, `,"validationActions":["Warn"]`)
		until(t, func() bool { _, _, _, warning := create(t, "a", "3"); return strings.Contains(warning, "odd") })
	})
	t.Run("conditions and errors", func(t *testing.T) {
		policy(t, w, "Validating", "broken", `"matchConditions":[{"name":"only","expression":"object.metadata.name == 'broken'"}],"validations":[{"expression":"object.spec.nothing == 1"}]`, `,"validationActions":["Deny"]`)
		until(t, func() bool { code, _, _, _ := create(t, "broken", "2"); return code == 422 })
		if _, _, st, _ := create(t, "broken", "2"); !strings.Contains(st.Message, "resulted in error: no such key: nothing") {
			t.Errorf("%+v", st)
		}
		if code, _, st, _ := create(t, "sound", "2"); code != 201 {
			t.Errorf("%d %+v", code, st)
		}
	})
	t.Run("parameters", func(t *testing.T) {
		w.do("POST", cmPath, `{"metadata":{"name":"limits"},"data":{"max":"3"}}`)
		policy(t, w, "Validating", "params", `"paramKind":{"apiVersion":"v1","kind":"ConfigMap"},"validations":[{"expression":"object.spec.replicas <= int(params.data.max)","reason":"Forbidden","message":"above the limit"}]`,
			`,"paramRef":{"name":"limits","namespace":"default","parameterNotFoundAction":"Deny"},"validationActions":["Deny"]`)
		until(t, func() bool {
			code, _, st, _ := create(t, "a", "4")
			return code == 403 && strings.Contains(st.Message, "above the limit")
		})
		w.do("DELETE", cmPath+"/limits", "")
		if code, _, st, _ := create(t, "a", "1"); code != 422 || !strings.Contains(st.Message, "no params found for policy binding with `Deny` parameterNotFoundAction") {
			t.Errorf("%d %+v", code, st)
		}
		w.do("DELETE", policyPath+"validatingadmissionpolicybindings/params", "")
		until(t, func() bool { code, _, _, _ := create(t, "a", "4"); return code == 201 })
	})
	t.Run("change", func(t *testing.T) {
		policy(t, w, "Mutating", "labels", `"failurePolicy":"Fail","reinvocationPolicy":"Never","mutations":[
			{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{metadata: Object.metadata{labels: {\"from\": \"apply\"}}, spec: Object.spec{replicas: object.spec.replicas + 1}}"}},
			{"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: \"add\", path: \"/metadata/annotations\", value: {\"from\": \"json\"}}]"}}]`, "")
		until(t, func() bool {
			code, d, _, _ := create(t, "a", "1")
			return code == 201 && d.Labels["from"] == "apply" && d.Annotations["from"] == "json" && *d.Spec.Replicas == 2 && d.Labels["app"] == "x"
		})
		// What changed is judged like what was sent.
		if code, _, _, _ := create(t, "a", "5"); code != 422 {
			t.Errorf("the change was not judged: %d", code)
		}
	})
	t.Run("what does not compile", func(t *testing.T) {
		rules := `"matchConstraints":{"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["deployments"]}]}`
		for _, c := range []struct{ resource, spec, field string }{
			{"validatingadmissionpolicies", `"validations":[{"expression":"object.spec.replicas >"}]`, "spec.validations[0].expression"},
			{"validatingadmissionpolicies", `"validations":[{"expression":"1"}]`, "spec.validations[0].expression"},
			{"validatingadmissionpolicies", `"validations":[{"expression":"params.x == 1"}]`, "spec.validations[0].expression"},
			{"validatingadmissionpolicies", `"validations":[{"expression":"true","messageExpression":"authorizer.path('/x')"}]`, "spec.validations[0].messageExpression"},
			{"validatingadmissionpolicies", `"auditAnnotations":[{"key":"k","valueExpression":"true"}]`, "spec.auditAnnotations[0].valueExpression"},
			{"validatingadmissionpolicies", `"variables":[{"name":"v","expression":"variables.w"},{"name":"w","expression":"1"}],"validations":[{"expression":"true"}]`, "spec.variables[0].expression"},
			{"validatingadmissionpolicies", `"variables":[{"name":"v","expression":"true"}],"matchConditions":[{"name":"m","expression":"variables.v"}],"validations":[{"expression":"variables.v"}]`, "spec.matchConditions[0].expression"},
			{"mutatingadmissionpolicies", `"reinvocationPolicy":"Never","mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"Object{}"}}]`, "spec.mutations[0].jsonPatch.expression"},
			{"mutatingadmissionpolicies", `"reinvocationPolicy":"Never","mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"1"}}]`, "spec.mutations[0].applyConfiguration.expression"},
		} {
			res, body := w.do("POST", policyPath+c.resource, `{"metadata":{"name":"bad"},"spec":{`+rules+`,`+c.spec+`}}`)
			var st metav1.Status
			if err := json.Unmarshal(body, &st); err != nil || res.StatusCode != 422 || st.Details == nil || len(st.Details.Causes) != 1 || st.Details.Causes[0].Field != c.field {
				t.Errorf("%s: %d %s", c.spec, res.StatusCode, body)
			}
		}
	})
	_, scraped := w.do("GET", "/metrics", "")
	for _, want := range []string{
		`apiserver_validating_admission_policy_check_total{enforcement_action="deny",error_type="no_error",policy="few",policy_binding="few"} `,
		`apiserver_validating_admission_policy_check_total{enforcement_action="warn",error_type="no_error",policy="odd",policy_binding="odd"} `,
		`apiserver_validating_admission_policy_check_total{enforcement_action="deny",error_type="invalid_error",policy="broken",policy_binding="broken"} `,
		`apiserver_validating_admission_policy_check_duration_seconds_count{enforcement_action="allow",error_type="no_error",policy="few",policy_binding="few"} `,
		`apiserver_mutating_admission_policy_check_total{error_type="no_error",policy="labels",policy_binding="labels"} `,
		"apiserver_cel_evaluation_duration_seconds_count ", "apiserver_cel_compilation_duration_seconds_count ", "apiserver_admission_match_condition_evaluation_seconds_count",
	} {
		if !strings.Contains(string(scraped), want) {
			t.Errorf("there is no %s", want)
		}
	}
	var list admissionregistrationv1.ValidatingAdmissionPolicyList
	_, body := w.do("GET", policyPath+"validatingadmissionpolicies", "")
	if err := json.Unmarshal(body, &list); err != nil || len(list.Items) != 4 {
		t.Errorf("%v %s", err, body)
	}
}

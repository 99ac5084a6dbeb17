package access_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authzv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/aggregation"
	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/servertest"
)

// judge is a webhook that lets everybody read config maps, and refuses secrets for good. It counts what it is asked.
type judge struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []authzv1.SubjectAccessReviewSpec
	version string
	sick    bool
	slow    bool
}

func newJudge(t *testing.T, version string) *judge {
	j := &judge{version: version}
	j.Server = httptest.NewTLSServer(http.HandlerFunc(j.serve))
	t.Cleanup(j.Close)
	return j
}

func (j *judge) serve(w http.ResponseWriter, r *http.Request) {
	var in authzv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.APIVersion != "authorization.k8s.io/"+j.version || in.Kind != "SubjectAccessReview" {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	j.mu.Lock()
	j.asked = append(j.asked, in.Spec)
	slow := j.slow
	j.mu.Unlock()
	if slow {
		<-r.Context().Done()
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.sick {
		http.Error(w, "not well", http.StatusTeapot)
		return
	}
	if a := in.Spec.ResourceAttributes; a != nil {
		in.Status.Allowed = a.Resource == "configmaps" && (a.Verb == "get" || a.Verb == "list")
		in.Status.Denied = a.Resource == "secrets"
		in.Status.Reason = "the judge says so"
	}
	_ = json.NewEncoder(w).Encode(&in)
}

func (j *judge) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.asked)
}

// judged starts a server with modes; users have tokens of their names.
func judged(t *testing.T, cfg authz.Config) func(token string) kubernetes.Interface {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte("ann,ann,1,\"devs,ops\"\nbob,bob,2\nroot,root,3,system:masters\n"), 0o600))
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: authn.Config{TokenFile: tokens}, Authz: cfg})
	})
	return func(token string) kubernetes.Interface {
		r := rest.CopyConfig(api.REST)
		r.BearerToken = token
		k, err := kubernetes.NewForConfig(r)
		require.NoError(t, err)
		return k
	}
}

func authorizationFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authz.yaml")
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".next", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n"+text), 0o600))
	require.NoError(t, os.Rename(path+".next", path))
}

const webhookEntry = `
- type: Webhook
  name: judge
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: %s
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: %s
    authorizedTTL: 1h
    unauthorizedTTL: 1h
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
    - expression: has(request.resourceAttributes)
    - expression: request.user != "bob"
`

func TestAuthorizationConfiguration(t *testing.T) {
	ctx := t.Context()
	j := newJudge(t, "v1")
	entry := fmt.Sprintf(webhookEntry, "v1", "Deny", kubeconfig(t, j.Server))
	path := authorizationFile(t, "authorizers:"+entry+"- {type: RBAC, name: rbac}\n")
	as := judged(t, authz.Config{ConfigFile: path})

	for range 3 {
		_, err := as("ann").CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{LabelSelector: "a=b", FieldSelector: "metadata.name=c"})
		require.NoError(t, err)
	}
	require.Equal(t, 1, j.count(), "answers are remembered")
	got := j.asked[0]
	require.Equal(t, "ann", got.User)
	require.Equal(t, []string{"devs", "ops", "system:authenticated"}, got.Groups)
	require.Equal(t, "list", got.ResourceAttributes.Verb)
	require.Equal(t, []metav1.LabelSelectorRequirement{{Key: "a", Operator: "In", Values: []string{"b"}}}, got.ResourceAttributes.LabelSelector.Requirements)
	require.Equal(t, []metav1.FieldSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"c"}}}, got.ResourceAttributes.FieldSelector.Requirements)

	_, err := as("ann").CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	require.ErrorContains(t, err, "the judge says so")
	before := j.count()
	_, err = as("bob").CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = as("root").CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	require.Equal(t, before, j.count(), "conditions keep bob from the judge, and nobody judges the masters")

	// One who takes too long is asked once.
	j.mu.Lock()
	j.slow = true
	j.mu.Unlock()
	before = j.count()
	_, err = as("ann").CoreV1().ConfigMaps("kube-system").List(ctx, metav1.ListOptions{})
	require.ErrorContains(t, err, "could not be asked")
	require.Equal(t, before+1, j.count())
	j.mu.Lock()
	j.slow = false
	j.mu.Unlock()

	// A judge who cannot be asked means no, where its policy says so.
	j.mu.Lock()
	j.sick = true
	j.mu.Unlock()
	_, err = as("ann").CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	require.ErrorContains(t, err, "could not be asked")

	rules, err := as("ann").AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authzv1.SelfSubjectRulesReview{Spec: authzv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	if err == nil { // the review itself is what the judge would be asked about
		require.True(t, rules.Status.Incomplete)
	}

	rewrite(t, path, "authorizers: []")
	rewrite(t, path, "authorizers: [{type: AlwaysAllow, name: all}]")
	require.Eventually(t, func() bool {
		_, err := as("bob").CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
}

func TestWebhookMode(t *testing.T) {
	j := newJudge(t, "v1beta1")
	file := kubeconfig(t, j.Server)
	as := judged(t, authz.Config{Modes: []string{"RBAC", "Webhook"}, Webhook: &apiserver.WebhookConfiguration{
		ConnectionInfo: apiserver.WebhookConnectionInfo{KubeConfigFile: &file}, SubjectAccessReviewVersion: "v1beta1", FailurePolicy: "NoOpinion"}})
	_, err := as("ann").CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	_, err = as("ann").CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = as("ann").Discovery().ServerVersion()
	require.NoError(t, err, "RBAC opens it")
	rules, err := as("root").AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authzv1.SelfSubjectRulesReview{Spec: authzv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.True(t, rules.Status.Incomplete)
	require.Contains(t, rules.Status.EvaluationError, "webhook authorizer does not support user rule resolution")
	require.NotEmpty(t, rules.Status.ResourceRules)
}

func TestBadAuthorizationConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"authorizers: []":                       "authorizers: Required",
		"authorizer: []":                        `unknown field "authorizer"`,
		"authorizers: [{type: Magic, name: m}]": "authorizers[0].type",
		"authorizers: [{type: RBAC}]":           "authorizers[0].name",
		"authorizers: [{type: RBAC, name: a}, {type: RBAC, name: b}]":                                        "authorizers[1].type",
		"authorizers: [{type: Webhook, name: a}]":                                                            "authorizers[0].webhook",
		"authorizers:" + fmt.Sprintf(webhookEntry, "v3", "Deny", "/x"):                                       "authorizers[0].subjectAccessReviewVersion",
		"authorizers:" + fmt.Sprintf(webhookEntry, "v1", "Perhaps", "/x"):                                    "authorizers[0].failurePolicy",
		"authorizers:" + fmt.Sprintf(webhookEntry, "v1", "Deny", "/no/such"):                                 "/no/such",
		"authorizers:" + fmt.Sprintf(webhookEntry, "v1", "Deny", "/x") + "    - expression: request.nothing": "matchConditions[2].expression",
	} {
		path := authorizationFile(t, text)
		_, err := authz.New(authz.Config{ConfigFile: path, API: nil})
		require.ErrorContains(t, err, want, text)
		if want != "/no/such" {
			require.ErrorContains(t, err, path)
		}
	}
	_, err := authz.New(authz.Config{Modes: []string{"Webhook"}})
	require.ErrorContains(t, err, "needs --authorization-webhook-config-file")
	_, err = authz.New(authz.Config{Modes: []string{"Magic"}})
	require.ErrorContains(t, err, `"Magic"`)
}

// TestNobodyGivesMoreThanHeHas: roles and bindings, with the verbs escalate and bind, and roles made of others.
func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	ctx := t.Context()
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte("ann,ann,1\nroot,root,3,system:masters\n"), 0o600))
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = access.Wire(access.Config{Authn: authn.Config{TokenFile: tokens}, Authz: authz.Config{Modes: []string{"RBAC"}}})
	})
	admin := api.Admin()
	informers := client.NewInformers(admin)
	controller := aggregation.New(controllers.Deps{Client: func(string) client.Interface { return admin }, Informers: informers}, 1)
	informers.Start(ctx)
	go func() { _ = controller.Run(ctx) }() // until the test ends
	as := func(token string) kubernetes.Interface {
		r := rest.CopyConfig(api.REST)
		r.BearerToken = token
		k, err := kubernetes.NewForConfig(r)
		require.NoError(t, err)
		return k
	}
	root, ann := as("root").RbacV1(), as("ann").RbacV1()
	give := func(name string, rules ...rbacv1.PolicyRule) {
		t.Helper()
		_, err := root.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = root.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "ann"}}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	soon := func(f func() error) {
		t.Helper()
		var err error
		require.Eventually(t, func() bool { err = f(); return err == nil }, 30*time.Second, 5*time.Millisecond, "%v", &err)
	}
	give("roles", rule(rbacv1.GroupName, "roles", "create"), rule(rbacv1.GroupName, "rolebindings", "create"), rule("", "pods", "get"))
	role := func(name, resource string) error {
		_, err := ann.Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule("", resource, "get")}}, metav1.CreateOptions{})
		return err
	}
	bind := func(name, ref string) error {
		_, err := ann.RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ref},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "eve"}}}, metav1.CreateOptions{})
		return err
	}
	soon(func() error { return role("own", "pods") })
	require.ErrorContains(t, role("more", "secrets"), "is attempting to grant RBAC permissions not currently held")
	require.ErrorContains(t, bind("more", "cluster-admin"), "is attempting to grant RBAC permissions not currently held")
	give("escalates", rule(rbacv1.GroupName, "roles", "escalate"))
	soon(func() error { return role("more", "secrets") })
	give("binds", rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{"view"}, Verbs: []string{"bind"}})
	soon(func() error { return bind("viewer", "view") })
	require.ErrorContains(t, bind("all", "cluster-admin"), "not currently held", "the right to bind is for one role")

	_, err := root.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sum"},
		AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"part": "yes"}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = root.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "part", Labels: map[string]string{"part": "yes"}}, Rules: []rbacv1.PolicyRule{rule("x.test", "things", "get")}}, metav1.CreateOptions{})
	require.NoError(t, err)
	soon(func() error {
		sum, err := root.ClusterRoles().Get(ctx, "sum", metav1.GetOptions{})
		if err == nil && (len(sum.Rules) != 1 || sum.Rules[0].Resources[0] != "things") {
			err = fmt.Errorf("rules are %v", sum.Rules)
		}
		return err
	})
}

package authz

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/server/apitest"
)

// start makes an authorizer over an API and waits until it follows it.
func start(t testing.TB, api *apitest.API, modes ...string) *Authorizer {
	t.Helper()
	inf := client.NewInformers(api)
	a, err := New(Config{API: api, Informers: inf, Modes: modes})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	inf.Start(ctx)
	wait, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	require.NoError(t, inf.WaitForSync(wait))
	require.NoError(t, a.Ready(ctx))
	return a
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

func meta(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

func rbacAPI() *apitest.API {
	ref := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	named := rule("", "configmaps", "get")
	named.ResourceNames = []string{"one"}
	return apitest.New(map[client.GVR][]client.Object{
		client.ClusterRoles.GVR: {
			&rbacv1.ClusterRole{ObjectMeta: meta("", "reader"), Rules: []rbacv1.PolicyRule{rule("", "pods", "get", "list"), rule("", "pods/log", "get"), rule("*", "*/scale", "get"),
				{NonResourceURLs: []string{"/metrics", "/debug/*"}, Verbs: []string{"get"}}}},
			&rbacv1.ClusterRole{ObjectMeta: meta("", "all"), Rules: []rbacv1.PolicyRule{rule("*", "*", "*")}},
		},
		client.Roles.GVR: {&rbacv1.Role{ObjectMeta: meta("ns", "one"), Rules: []rbacv1.PolicyRule{named}}},
		client.ClusterRoleBindings.GVR: {
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta("", "readers"), RoleRef: ref("ClusterRole", "reader"), Subjects: []rbacv1.Subject{{Kind: "User", Name: "ann"}, {Kind: "Group", Name: "devs"}}},
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta("", "lost"), RoleRef: ref("ClusterRole", "gone"), Subjects: []rbacv1.Subject{{Kind: "User", Name: "ann"}}},
		},
		client.RoleBindings.GVR: {
			&rbacv1.RoleBinding{ObjectMeta: meta("ns", "owners"), RoleRef: ref("ClusterRole", "all"), Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "sa", Namespace: "other"}}},
			&rbacv1.RoleBinding{ObjectMeta: meta("ns", "ones"), RoleRef: ref("Role", "one"), Subjects: []rbacv1.Subject{{Kind: "User", Name: "bob"}}},
		},
	})
}

func get(u, ns, group, resource, sub, name, verb string, groups ...string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{User: &user.DefaultInfo{Name: u, Groups: groups}, Verb: verb, Namespace: ns, APIGroup: group, APIVersion: "v1",
		Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
}

func TestRBAC(t *testing.T) {
	a := start(t, rbacAPI(), ModeRBAC)
	path := func(u, p string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{User: &user.DefaultInfo{Name: u}, Verb: "get", Path: p}
	}
	for name, c := range map[string]struct {
		ask    authorizer.AttributesRecord
		allow  bool
		reason string
	}{
		"by user":                   {get("ann", "x", "", "pods", "", "p", "get"), true, `RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to User "ann"`},
		"by group":                  {get("x", "x", "", "pods", "", "", "list", "devs"), true, `RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "devs"`},
		"cluster scope":             {get("ann", "", "", "pods", "", "", "list"), true, ""},
		"other verb":                {get("ann", "x", "", "pods", "", "p", "delete"), false, `RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`},
		"subresource":               {get("ann", "x", "", "pods", "log", "p", "get"), true, ""},
		"subresource not the thing": {get("ann", "x", "", "pods", "exec", "p", "get"), false, `RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`},
		"any scale":                 {get("ann", "x", "apps", "deployments", "scale", "d", "get"), true, ""},
		"scale is not the object":   {get("ann", "x", "apps", "deployments", "", "d", "get"), false, `RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`},
		"service account here":      {get("system:serviceaccount:other:sa", "ns", "apps", "deployments", "status", "d", "patch"), true, `RBAC: allowed by RoleBinding "owners/ns" of ClusterRole "all" to ServiceAccount "sa/other"`},
		"service account elsewhere": {get("system:serviceaccount:other:sa", "other", "", "pods", "", "", "list"), false, ""},
		"not over all namespaces":   {get("system:serviceaccount:other:sa", "", "", "pods", "", "", "list"), false, ""},
		"named":                     {get("bob", "ns", "", "configmaps", "", "one", "get"), true, ""},
		"otherwise named":           {get("bob", "ns", "", "configmaps", "", "two", "get"), false, ""},
		"not named":                 {get("bob", "ns", "", "configmaps", "", "", "get"), false, ""},
		"path":                      {path("ann", "/metrics"), true, ""},
		"path below":                {path("ann", "/debug/pprof"), true, ""},
		"other path":                {path("ann", "/metricsx"), false, `RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`},
		"health is open":            {path("nobody", "/readyz"), true, ""},
		"masters":                   {get("x", "", "any", "thing", "", "", "delete", "system:masters"), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, reason, err := a.Authorize(t.Context(), c.ask)
			require.NoError(t, err)
			require.Equal(t, c.allow, d == authorizer.DecisionAllow, reason)
			if c.reason != "" || !c.allow {
				require.Equal(t, c.reason, reason)
			}
		})
	}
}

func TestRBACFollowsChanges(t *testing.T) {
	api := rbacAPI()
	a := start(t, api, ModeRBAC)
	allowed := func() bool {
		d, _, err := a.Authorize(context.Background(), get("ann", "x", "", "pods", "", "p", "get"))
		return err == nil && d == authorizer.DecisionAllow
	}
	require.True(t, allowed())
	api.Drop(client.ClusterRoles.GVR, "", "reader")
	require.Eventually(t, func() bool { return !allowed() }, 5*time.Second, time.Millisecond)
	api.Put(client.ClusterRoles.GVR, &rbacv1.ClusterRole{ObjectMeta: meta("", "gone"), Rules: []rbacv1.PolicyRule{rule("", "pods", "get")}})
	require.Eventually(t, allowed, 5*time.Second, time.Millisecond)
	api.Drop(client.ClusterRoleBindings.GVR, "", "lost")
	require.Eventually(t, func() bool { return !allowed() }, 5*time.Second, time.Millisecond)
}

func TestForbiddenMessage(t *testing.T) {
	for want, a := range map[string]authorizer.AttributesRecord{
		`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"`:                                 get("x", "y", "", "pods", "", "", "list"),
		`deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "y"`: get("x", "y", "apps", "deployments", "scale", "d", "get"),
		`nodes "n" is forbidden: User "x" cannot delete resource "nodes" in API group "" at the cluster scope`:                         get("x", "", "", "nodes", "", "n", "delete"),
	} {
		require.Equal(t, want, Forbidden(a, "").Error())
	}
	require.Equal(t, `pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y": because`, Forbidden(get("x", "y", "", "pods", "", "", "list"), "because").Error())
	require.Equal(t, `User "x" cannot get path "/a"`, Message(authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "x"}, Verb: "get", Path: "/a"}))
}

func nodeAPI() *apitest.API {
	pod := &corev1.Pod{ObjectMeta: meta("ns", "p"), Spec: corev1.PodSpec{
		NodeName: "n1", ServiceAccountName: "sa",
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
		Containers:       []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "env"}}}}}},
		Volumes: []corev1.Volume{
			{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "vol"}}},
			{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}},
		}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("ns", "claim"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv"}}
	pv := &corev1.PersistentVolume{ObjectMeta: meta("", "pv"), Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: "ns", Name: "claim"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{NodePublishSecretRef: &corev1.SecretReference{Namespace: "csi", Name: "key"}}}}}
	return apitest.New(map[client.GVR][]client.Object{client.Pods.GVR: {pod}, claims.GVR: {claim}, volumes.GVR: {pv}})
}

func TestNode(t *testing.T) {
	api := nodeAPI()
	a := start(t, api, ModeNode)
	ask := func(ns, group, resource, sub, name, verb, selector string) authorizer.AttributesRecord {
		r := get("system:node:n1", ns, group, resource, sub, name, verb, "system:nodes", "system:authenticated")
		if selector != "" {
			r.FieldSelectorRequirements = fields.ParseSelectorOrDie(selector).Requirements()
		}
		return r
	}
	const lease, csi, certs = "coordination.k8s.io", "storage.k8s.io", "certificates.k8s.io"
	for name, c := range map[string]struct {
		ask   authorizer.AttributesRecord
		allow bool
	}{
		"secret of a volume":          {ask("ns", "", "secrets", "", "vol", "get", ""), true},
		"secret to pull":              {ask("ns", "", "secrets", "", "pull", "watch", ""), true},
		"secret of a CSI volume":      {ask("csi", "", "secrets", "", "key", "get", ""), true},
		"other secret":                {ask("ns", "", "secrets", "", "other", "get", ""), false},
		"same name elsewhere":         {ask("ns2", "", "secrets", "", "vol", "get", ""), false},
		"all secrets":                 {ask("ns", "", "secrets", "", "", "list", ""), false},
		"secret to write":             {ask("ns", "", "secrets", "", "vol", "update", ""), false},
		"config map of environment":   {ask("ns", "", "configmaps", "", "env", "get", ""), true},
		"other config map":            {ask("ns", "", "configmaps", "", "vol", "get", ""), false},
		"claim":                       {ask("ns", "", "persistentvolumeclaims", "", "claim", "get", ""), true},
		"claim's status":              {ask("ns", "", "persistentvolumeclaims", "status", "claim", "patch", ""), true},
		"volume":                      {ask("", "", "persistentvolumes", "", "pv", "get", ""), true},
		"other volume":                {ask("", "", "persistentvolumes", "", "pw", "get", ""), false},
		"token":                       {ask("ns", "", "serviceaccounts", "token", "sa", "create", ""), true},
		"token of another":            {ask("ns", "", "serviceaccounts", "token", "default", "create", ""), false},
		"own node":                    {ask("", "", "nodes", "", "n1", "get", ""), true},
		"other node":                  {ask("", "", "nodes", "", "n2", "get", ""), false},
		"all nodes":                   {ask("", "", "nodes", "", "", "list", ""), false},
		"own node's status":           {ask("", "", "nodes", "status", "n1", "patch", ""), true},
		"other node's status":         {ask("", "", "nodes", "status", "n2", "patch", ""), false},
		"node to delete":              {ask("", "", "nodes", "", "n1", "delete", ""), false},
		"pods of the node":            {ask("", "", "pods", "", "", "watch", "spec.nodeName=n1"), true},
		"pods of another":             {ask("", "", "pods", "", "", "watch", "spec.nodeName=n2"), false},
		"all pods":                    {ask("", "", "pods", "", "", "list", ""), false},
		"pod":                         {ask("ns", "", "pods", "", "p", "get", ""), true},
		"other pod":                   {ask("ns", "", "pods", "", "q", "get", ""), false},
		"lease":                       {ask("kube-node-lease", lease, "leases", "", "n1", "update", ""), true},
		"lease to create":             {ask("kube-node-lease", lease, "leases", "", "", "create", ""), true},
		"other's lease":               {ask("kube-node-lease", lease, "leases", "", "n2", "update", ""), false},
		"lease elsewhere":             {ask("kube-system", lease, "leases", "", "n1", "update", ""), false},
		"own CSINode":                 {ask("", csi, "csinodes", "", "n1", "get", ""), true},
		"other CSINode":               {ask("", csi, "csinodes", "", "n2", "get", ""), false},
		"services":                    {ask("", "", "services", "", "", "watch", ""), true},
		"deployments":                 {ask("", "apps", "deployments", "", "", "list", ""), false},
		"certificate request":         {ask("", certs, "certificatesigningrequests", "", "", "create", ""), true},
		"pod certificates":            {ask("", certs, "podcertificaterequests", "", "", "list", "spec.nodeName=n1"), true},
		"pod certificates of another": {ask("", certs, "podcertificaterequests", "", "", "list", ""), false},
		"no node":                     {get("system:node:n1", "ns", "", "secrets", "", "vol", "get"), false},
	} {
		t.Run(name, func(t *testing.T) {
			d, reason, err := a.Authorize(t.Context(), c.ask)
			require.NoError(t, err)
			require.Equal(t, c.allow, d == authorizer.DecisionAllow, reason)
		})
	}
	_, reason, err := a.Authorize(t.Context(), ask("ns", "", "secrets", "", "other", "get", ""))
	require.NoError(t, err)
	require.Equal(t, "no relationship found between node 'n1' and this object", reason)
}

func TestRBACWaitsForTheDefaults(t *testing.T) {
	api := rbacAPI()
	inf := client.NewInformers(api)
	made := make(chan struct{})
	a, err := New(Config{API: api, Informers: inf, Modes: []string{ModeRBAC}, Bootstrapped: made, StartTimeout: time.Minute})
	require.NoError(t, err)
	require.Error(t, a.Ready(t.Context()))
	done := make(chan authorizer.Decision, 1)
	go func() {
		d, _, _ := a.Authorize(context.Background(), get("ann", "x", "", "pods", "", "p", "get"))
		done <- d
	}()
	inf.Start(t.Context())
	select {
	case <-done:
		t.Fatal("decided before the default roles were there")
	default:
	}
	close(made)
	require.Equal(t, authorizer.DecisionAllow, <-done)
}

func BenchmarkRBAC(b *testing.B) {
	a := start(b, rbacAPI(), ModeNode, ModeRBAC)
	ask := get("ann", "x", "", "pods", "", "p", "get", "a", "b", "system:authenticated")
	b.ReportAllocs()
	for b.Loop() {
		if d, _, _ := a.Authorize(context.Background(), ask); d != authorizer.DecisionAllow {
			b.Fatal("refused")
		}
	}
}

package access_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"hyperkube/internal/pki"
	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/servertest"
)

// cluster is a running server with the whole of access control, and its PKI.
type cluster struct {
	*servertest.API
	files *pki.Files
}

const issuer = "https://kubernetes.default.svc.cluster.local"

func start(t *testing.T) *cluster {
	t.Helper()
	files, err := pki.Ensure(t.TempDir(), pki.Options{NodeName: "n1", ServiceIP: net.IPv4(10, 96, 0, 1)})
	require.NoError(t, err)
	serving, err := pki.NewReloader(files.APIServer, files.CA.CertFile)
	require.NoError(t, err)
	front, err := pki.NewReloader(pki.Pair{}, files.FrontProxyCA.CertFile)
	require.NoError(t, err)
	api := servertest.Start(t, func(c *server.Config) {
		c.TLS = serving.ServerConfig(tls.RequestClientCert)
		c.Wire = access.Wire(access.Config{
			Authn: authn.Config{
				ClientCA: serving.Pool, FrontProxy: &authn.FrontProxy{CA: front.Pool}, Anonymous: true, BootstrapTokens: true,
				ServiceAccounts: &authn.ServiceAccounts{Issuers: []string{issuer}, Signer: files.ServiceAccount, Keys: []crypto.PublicKey{files.ServiceAccount.Public()}},
			},
			Bootstrap: bootstrap.Config{Authentication: &bootstrap.Authentication{ClientCA: files.CA.PEM, FrontProxyCA: files.FrontProxyCA.PEM}},
		})
	})
	return &cluster{api, files}
}

// as is a client of upstream's own making, with some credentials.
func (c *cluster) as(t *testing.T, change func(*rest.Config)) kubernetes.Interface {
	t.Helper()
	cfg := &rest.Config{Host: c.REST.Host, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: c.files.CA.PEM}}
	change(cfg)
	k, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return k
}

func (c *cluster) pair(t *testing.T, p pki.Pair) func(*rest.Config) {
	t.Helper()
	cert, key, err := p.Read()
	require.NoError(t, err)
	return func(r *rest.Config) { r.CertData, r.KeyData = cert, key }
}

func TestAccess(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin := c.as(t, c.pair(t, c.files.Admin))

	t.Run("defaults are there", func(t *testing.T) {
		roles, err := admin.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"})
		require.NoError(t, err)
		require.Greater(t, len(roles.Items), 60)
		_, err = admin.SchedulingV1().PriorityClasses().Get(ctx, "system-cluster-critical", metav1.GetOptions{})
		require.NoError(t, err)
	})
	t.Run("anonymous", func(t *testing.T) {
		anon := c.as(t, func(*rest.Config) {})
		_, err := anon.Discovery().ServerVersion()
		require.NoError(t, err, "the version is public")
		_, err = anon.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), err)
		require.EqualError(t, err, `pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default"`)
		bad := c.as(t, func(r *rest.Config) { r.BearerToken = "nonsense" })
		_, err = bad.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		require.True(t, apierrors.IsUnauthorized(err), err)
	})
	t.Run("scheduler", func(t *testing.T) {
		k := c.as(t, c.pair(t, c.files.Scheduler))
		_, err := k.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		_, err = k.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), err)
	})
	t.Run("kubelet", func(t *testing.T) { kubelet(ctx, t, c, admin) })
	t.Run("impersonation and reviews", func(t *testing.T) { reviews(ctx, t, c, admin) })
	t.Run("escalation", func(t *testing.T) {
		_, err := admin.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "ann"},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"}, Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "ann"}}}, metav1.CreateOptions{})
		require.NoError(t, err)
		ann := c.as(t, func(r *rest.Config) {
			c.pair(t, c.files.Admin)(r)
			r.Impersonate = rest.ImpersonationConfig{UserName: "ann"}
		})
		role := func(resource string) *rbacv1.Role {
			return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: resource}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"update"}}}}
		}
		require.Eventually(t, func() bool { // the authorizer follows the API, a moment behind
			_, err = ann.RbacV1().Roles("default").Create(ctx, role("pods"), metav1.CreateOptions{})
			return err == nil
		}, 10*time.Second, time.Millisecond, "%v", err)
		_, err = ann.RbacV1().Roles("default").Create(ctx, role("endpoints"), metav1.CreateOptions{})
		require.ErrorContains(t, err, "is attempting to grant RBAC permissions not currently held")
	})
	t.Run("certificate request", func(t *testing.T) {
		k := c.as(t, c.pair(t, c.files.KubeletClient))
		key, err := pki.NewCA("x", time.Now())
		require.NoError(t, err)
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}}, key.Key)
		require.NoError(t, err)
		csr, err := k.CertificatesV1().CertificateSigningRequests().Create(ctx, &certv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
			Spec: certv1.CertificateSigningRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: certv1.KubeAPIServerClientKubeletSignerName,
				Usages: []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageClientAuth}, Username: "root"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Equal(t, "system:node:n1", csr.Spec.Username)
		require.Contains(t, csr.Spec.Groups, "system:nodes")
		csr.Status.Conditions = []certv1.CertificateSigningRequestCondition{{Type: certv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "x"}}
		_, err = k.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
		require.True(t, apierrors.IsForbidden(err), err)
		_, err = admin.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
		require.NoError(t, err)
	})
	t.Run("issuer discovery", func(t *testing.T) { discovery(t, c) })
}

func kubelet(ctx context.Context, t *testing.T, c *cluster, admin kubernetes.Interface) {
	k := c.as(t, c.pair(t, c.files.KubeletClient))
	node, err := k.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Len(t, node.Spec.Taints, 1)
	_, err = k.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}, metav1.CreateOptions{})
	require.ErrorContains(t, err, `is not allowed to modify node "n2"`)
	for _, name := range []string{"used", "unused"} {
		_, err = admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	_, err = admin.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod, err := admin.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "n1",
		Containers: []corev1.Container{{Name: "c", Image: "i"}},
		Volumes:    []corev1.Volume{{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "used"}}}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = k.CoreV1().Secrets("default").Get(ctx, "used", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = k.CoreV1().Secrets("default").Get(ctx, "unused", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	require.ErrorContains(t, err, "no relationship found between node 'n1' and this object")
	_, err = k.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"})
	require.NoError(t, err)
	_, err = k.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)

	tr, err := k.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{
		BoundObjectRef: &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: pod.UID}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, tr.Status.Token)
	review, err := admin.AuthenticationV1().TokenReviews().Create(ctx, &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: tr.Status.Token}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.True(t, review.Status.Authenticated, review.Status.Error)
	for _, key := range []string{"credential-id", "pod-name", "pod-uid", "node-name", "node-uid"} {
		require.Len(t, review.Status.User.Extra["authentication.kubernetes.io/"+key], 1, key)
	}
	sa := c.as(t, func(r *rest.Config) { r.BearerToken = tr.Status.Token })
	self, err := sa.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authnv1.SelfSubjectReview{}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Equal(t, "system:serviceaccount:default:default", self.Status.UserInfo.Username)
	require.NoError(t, admin.CoreV1().Pods("default").Delete(ctx, "p", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	require.Eventually(t, func() bool { // the cache that authentication reads is a moment behind the deletion
		_, err := sa.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authnv1.SelfSubjectReview{}, metav1.CreateOptions{})
		return apierrors.IsUnauthorized(err)
	}, 30*time.Second, time.Millisecond, "a token dies with its pod")
}

func reviews(ctx context.Context, t *testing.T, c *cluster, admin kubernetes.Interface) {
	who := rest.ImpersonationConfig{UserName: "system:serviceaccount:default:x", UID: "u", Groups: []string{"system:authenticated", "viewers"}}
	ask := func() (sar, local bool, list error) {
		spec := authzv1.SubjectAccessReviewSpec{User: who.UserName, UID: who.UID, Groups: who.Groups,
			ResourceAttributes: &authzv1.ResourceAttributes{Namespace: "default", Verb: "list", Resource: "configmaps", Version: "v1"}}
		a, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authzv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		require.NoError(t, err)
		b, err := admin.AuthorizationV1().LocalSubjectAccessReviews("default").Create(ctx, &authzv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}, Spec: spec}, metav1.CreateOptions{})
		require.NoError(t, err)
		k := c.as(t, func(r *rest.Config) {
			c.pair(t, c.files.Admin)(r)
			r.Impersonate = who
		})
		_, err = k.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		return a.Status.Allowed, b.Status.Allowed, err
	}
	sar, local, err := ask()
	require.False(t, sar || local)
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "viewers"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}, Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "viewers"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { sar, _, _ := ask(); return sar }, 10*time.Second, 5*time.Millisecond)
	sar, local, err = ask()
	require.True(t, sar && local)
	require.NoError(t, err)
	rules, err := admin.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authzv1.SelfSubjectRulesReview{Spec: authzv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, rules.Status.ResourceRules)
}

func discovery(t *testing.T, c *cluster) {
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(c.files.CA.PEM))
	cert, err := c.files.Admin.TLS()
	require.NoError(t, err)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{*cert}}}}
	get := func(path string) []byte {
		resp, err := h.Get(c.REST.Host + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return data
	}
	var doc map[string]any
	require.NoError(t, json.Unmarshal(get("/.well-known/openid-configuration"), &doc))
	require.Equal(t, issuer, doc["issuer"])
	require.Contains(t, string(get("/openid/v1/jwks")), `"kid"`)
}

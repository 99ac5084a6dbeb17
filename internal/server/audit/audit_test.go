package audit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/access"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/bootstrap"
	"hyperkube/internal/server/servertest"
)

const everything = `
rules:
- {level: None, users: ["system:apiserver"]}
- {level: Metadata, resources: [{resources: [secrets, serviceaccounts/token]}]}
- {level: Request, resources: [{resources: [services]}]}
- {level: RequestResponse, resources: [{resources: [configmaps]}], omitManagedFields: true}
- {level: Metadata}
`

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func policy(t *testing.T, text string) string {
	return file(t, "policy.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\n"+text)
}

// audited starts a server with an audit log, and with everything that decides who may do what.
func audited(t *testing.T, cfg audit.Config) (*servertest.API, func()) {
	t.Helper()
	l, err := audit.New(cfg)
	require.NoError(t, err)
	tokens := file(t, "tokens.csv", "admin-token,admin,1,system:masters\nann-token,ann,2\n")
	return servertest.StartStoppable(t, func(c *server.Config) {
		c.Wire = func(api client.Interface, p *server.Parts) error {
			p.Audit = l
			p.Background = append(p.Background, l.Run)
			p.Metrics.MustRegister(l.Collectors()...)
			p.Handlers = map[string]http.Handler{"/panic": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") })}
			return access.Wire(access.Config{Authn: authn.Config{TokenFile: tokens, Anonymous: true},
				Authz: authz.Config{Modes: []string{"RBAC"}}, Bootstrap: bootstrap.Config{}})(api, p)
		}
	})
}

func as(t *testing.T, api *servertest.API, token string, change func(*rest.Config)) *kubernetes.Clientset {
	t.Helper()
	cfg := rest.CopyConfig(api.REST)
	cfg.BearerToken = token
	if change != nil {
		change(cfg)
	}
	k, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	return k
}

// events reads a log of lines.
func events(t *testing.T, path string) []auditv1.Event {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var out []auditv1.Event
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var ev auditv1.Event
		require.NoError(t, json.Unmarshal(s.Bytes(), &ev), s.Text())
		require.Equal(t, "Event", ev.Kind)
		require.Equal(t, "audit.k8s.io/v1", ev.APIVersion)
		out = append(out, ev)
	}
	require.NoError(t, s.Err())
	return out
}

// find gives the stages of requests that f selects.
func find(list []auditv1.Event, f func(*auditv1.Event) bool) map[auditv1.Stage]auditv1.Event {
	out := map[auditv1.Stage]auditv1.Event{}
	for i := range list {
		if f(&list[i]) {
			out[list[i].Stage] = list[i]
		}
	}
	return out
}

func on(verb, resource, name string) func(*auditv1.Event) bool {
	return func(ev *auditv1.Event) bool {
		return ev.Verb == verb && ev.ObjectRef != nil && ev.ObjectRef.Resource == resource && (name == "" || ev.ObjectRef.Name == name)
	}
}

func TestLogFile(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "sub", "audit.log")
	api, stop := audited(t, audit.Config{PolicyFile: policy(t, everything), File: &audit.FileConfig{Path: path, Format: "json", MaxSize: 1, Delivery: audit.Delivery{Mode: audit.Blocking}}})
	admin := as(t, api, "admin-token", nil)

	_, err := admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"k": "very-secret"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	yaml := as(t, api, "admin-token", func(c *rest.Config) { c.ContentType = "application/vnd.kubernetes.protobuf" })
	_, err = yaml.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	_, err = admin.CoreV1().ConfigMaps("default").Patch(ctx, "c", types.MergePatchType, []byte(`{"data":{"k":"w"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = admin.CoreV1().Services("default").Get(ctx, "nothing", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), err)
	_, err = as(t, api, "ann-token", nil).CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	_, err = as(t, api, "wrong", nil).CoreV1().Secrets("default").List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsUnauthorized(err), err)
	_, err = as(t, api, "admin-token", func(c *rest.Config) { c.Impersonate = rest.ImpersonationConfig{UserName: "bob", Groups: []string{"g"}} }).CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), err)
	raw := admin.RESTClient().Get().AbsPath("/panic").Do(ctx)
	require.Error(t, raw.Error())
	require.NoError(t, client.Secrets.Delete(ctx, api.Admin(), "default", "s"))
	w, err := admin.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, find(events(t, path), on("watch", "configmaps", ""))[auditv1.StageResponseStarted].AuditID, "told before the watch ends")
	w.Stop()
	stop()

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), "very-secret")
	require.NotContains(t, string(data), "admin-token")
	require.NotContains(t, string(data), "managedFields")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	all := events(t, path)

	got := find(all, on("create", "secrets", "s"))
	require.Len(t, got, 1, "the name of a new object is known after its body was read")
	done := got[auditv1.StageResponseComplete]
	require.Equal(t, auditv1.LevelMetadata, done.Level)
	require.Nil(t, done.RequestObject)
	require.Equal(t, "admin", done.User.Username)
	require.Equal(t, []string{"127.0.0.1"}, done.SourceIPs)
	require.Equal(t, "/api/v1/namespaces/default/secrets", done.RequestURI)
	require.EqualValues(t, 201, done.ResponseStatus.Code)
	require.Equal(t, "allow", done.Annotations["authorization.k8s.io/decision"])
	require.False(t, done.StageTimestamp.Before(&done.RequestReceivedTimestamp))

	done = find(all, on("create", "configmaps", "c"))[auditv1.StageResponseComplete]
	require.Contains(t, string(done.RequestObject.Raw), `"k":"v"`)
	require.NotContains(t, string(done.RequestObject.Raw), "uid")
	require.Contains(t, string(done.ResponseObject.Raw), `"uid"`)
	require.Contains(t, string(find(all, on("list", "configmaps", ""))[auditv1.StageResponseComplete].ResponseObject.Raw), `"kind":"ConfigMapList"`)
	require.JSONEq(t, `{"data":{"k":"w"}}`, string(find(all, on("patch", "configmaps", "c"))[auditv1.StageResponseComplete].RequestObject.Raw))

	done = find(all, on("get", "services", "nothing"))[auditv1.StageResponseComplete]
	require.Equal(t, metav1.StatusReasonNotFound, done.ResponseStatus.Reason)
	require.Nil(t, done.ResponseObject)

	done = find(all, func(ev *auditv1.Event) bool { return ev.User.Username == "ann" })[auditv1.StageResponseComplete]
	require.Equal(t, "forbid", done.Annotations["authorization.k8s.io/decision"])
	require.EqualValues(t, 403, done.ResponseStatus.Code)

	got = find(all, func(ev *auditv1.Event) bool { return ev.User.Username == "" })
	require.Len(t, got, 1)
	require.Equal(t, "Unauthorized", got[auditv1.StageResponseStarted].ResponseStatus.Message)

	done = find(all, on("list", "nodes", ""))[auditv1.StageResponseComplete]
	require.Equal(t, "admin", done.User.Username)
	require.Equal(t, "bob", done.ImpersonatedUser.Username)

	got = find(all, func(ev *auditv1.Event) bool { return ev.RequestURI == "/panic" })
	require.Len(t, got, 2)
	require.EqualValues(t, 500, got[auditv1.StagePanic].ResponseStatus.Code)
	require.Contains(t, got[auditv1.StagePanic].ResponseStatus.Message, "on purpose")

	got = find(all, on("watch", "configmaps", ""))
	require.Len(t, got, 3)
	require.Equal(t, got[auditv1.StageRequestReceived].AuditID, got[auditv1.StageResponseComplete].AuditID)

	done = find(all, on("delete", "secrets", "s"))[auditv1.StageResponseComplete]
	require.Equal(t, "/api/v1/namespaces/default/secrets/s", done.RequestURI, "the direct door is audited as well")
	require.Empty(t, find(all, func(ev *auditv1.Event) bool { return ev.User.Username == "system:apiserver" }))
}

// receiver is a webhook that fails at first.
func receiver(t *testing.T, failures int32) (kubeconfig string, got <-chan auditv1.EventList) {
	t.Helper()
	lists := make(chan auditv1.EventList, 1000)
	var left atomic.Int32
	left.Store(failures)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) >= 0 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		data, err := io.ReadAll(r.Body)
		var l auditv1.EventList
		if err == nil {
			err = json.Unmarshal(data, &l)
		}
		if err != nil || l.Kind != "EventList" || r.Header.Get("Authorization") != "Bearer hook" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		lists <- l
	}))
	t.Cleanup(srv.Close)
	return kubeconfigFor(t, srv), lists
}

func kubeconfigFor(t *testing.T, srv *httptest.Server) string {
	c := clientcmdapi.NewConfig()
	c.Clusters["x"] = &clientcmdapi.Cluster{Server: srv.URL + "/events", CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}
	c.AuthInfos["x"] = &clientcmdapi.AuthInfo{Token: "hook"}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "x", AuthInfo: "x"}
	c.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "webhook.kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*c, path))
	return path
}

func TestWebhook(t *testing.T) {
	kubeconfig, lists := receiver(t, 2)
	api, stop := audited(t, audit.Config{PolicyFile: policy(t, everything), Webhook: &audit.WebhookConfig{ConfigFile: kubeconfig, InitialBackoff: time.Millisecond,
		Delivery: audit.Delivery{Mode: audit.Batch, BufferSize: 1000, MaxSize: 400, MaxWait: time.Hour}}})
	admin := as(t, api, "admin-token", nil)
	_, err := admin.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	stop() // writes what waits
	var all []auditv1.Event
	for len(lists) > 0 {
		all = append(all, (<-lists).Items...)
	}
	require.Contains(t, find(all, on("create", "secrets", "s")), auditv1.StageResponseComplete)
	for name, n := range counters(t, api) {
		if strings.HasPrefix(name, "apiserver_audit_error_total") {
			require.Zero(t, n, name)
		}
	}
	require.NotZero(t, counters(t, api)["apiserver_audit_event_total"])
}

func counters(t *testing.T, api *servertest.API) map[string]float64 {
	g, ok := api.Metrics().(prometheus.Gatherer)
	require.True(t, ok)
	families, err := g.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "," + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue()
		}
	}
	return out
}

func TestBlockingStrictRefuses(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "never", http.StatusBadRequest) }))
	defer srv.Close()
	api, _ := audited(t, audit.Config{PolicyFile: policy(t, "rules:\n- {level: Metadata, resources: [{resources: [configmaps]}]}"), Webhook: &audit.WebhookConfig{
		ConfigFile: kubeconfigFor(t, srv), InitialBackoff: time.Millisecond, Delivery: audit.Delivery{Mode: audit.BlockingStrict}}})
	admin := as(t, api, "admin-token", nil)
	_, err := admin.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	require.ErrorContains(t, err, "could not be audited")
	_, err = client.ConfigMaps.Get(t.Context(), api.Admin(), "default", "x")
	require.ErrorContains(t, err, "could not be audited")
	_, err = admin.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	c := counters(t, api)
	require.EqualValues(t, 2, c["apiserver_audit_requests_rejected_total"])
	require.EqualValues(t, 2, c["apiserver_audit_error_total,plugin=webhook"])
}

func TestLegacyLinesAndTruncation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	api, stop := audited(t, audit.Config{PolicyFile: policy(t, everything), File: &audit.FileConfig{Path: path, Format: "legacy",
		Delivery: audit.Delivery{Mode: audit.Batch, BufferSize: 10000, MaxSize: 1}}})
	_, err := as(t, api, "admin-token", nil).CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	stop()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), `stage="ResponseComplete" ip="127.0.0.1" method="list" user="admin" groups="system:masters","system:authenticated" as="<self>" asgroups="<lookup>"`)
	require.Contains(t, string(data), `namespace="default" uri="/api/v1/namespaces/default/services" response="200"`)

	short := filepath.Join(t.TempDir(), "short.log")
	api, stop = audited(t, audit.Config{PolicyFile: policy(t, everything), File: &audit.FileConfig{Path: short, Format: "json",
		Delivery: audit.Delivery{Mode: audit.Blocking, Truncate: &audit.Truncate{MaxEvent: 4096, MaxBatch: 8192}}}})
	_, err = as(t, api, "admin-token", nil).CoreV1().ConfigMaps("default").Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"},
		Data: map[string]string{"k": strings.Repeat("v", 5000)}}, metav1.CreateOptions{})
	require.NoError(t, err)
	stop()
	done := find(events(t, short), on("create", "configmaps", "c"))[auditv1.StageResponseComplete]
	require.Nil(t, done.RequestObject)
	require.Equal(t, "true", done.Annotations["audit.k8s.io/truncated"])
}

func TestBadConfiguration(t *testing.T) {
	good := policy(t, "rules: [{level: Metadata}]")
	log := audit.FileConfig{Path: filepath.Join(t.TempDir(), "x"), Format: "json", Delivery: audit.Delivery{Mode: audit.Blocking}}
	with := func(change func(*audit.FileConfig)) audit.Config {
		f := log
		change(&f)
		return audit.Config{PolicyFile: good, File: &f}
	}
	for want, c := range map[string]audit.Config{
		"--audit-log-mode":                      with(func(f *audit.FileConfig) { f.Mode = "sometimes" }),
		"--audit-log-format":                    with(func(f *audit.FileConfig) { f.Format = "xml" }),
		"--audit-log-path":                      with(func(f *audit.FileConfig) { f.Path = "/proc/no/such" }),
		"--audit-log-batch-max-size":            with(func(f *audit.FileConfig) { f.Mode, f.BufferSize = audit.Batch, 1 }),
		"--audit-log-truncate-max-event-size":   with(func(f *audit.FileConfig) { f.Truncate = &audit.Truncate{MaxEvent: 2, MaxBatch: 1} }),
		"--audit-webhook-config-file: /no/such": {PolicyFile: good, Webhook: &audit.WebhookConfig{ConfigFile: "/no/such", Delivery: audit.Delivery{Mode: audit.Blocking}}},
		"--audit-policy-file":                   {PolicyFile: "/no/such", File: &log},
	} {
		_, err := audit.New(c)
		require.ErrorContains(t, err, want)
	}
	l, err := audit.New(audit.Config{File: &log})
	require.NoError(t, err)
	require.Nil(t, l, "without a policy nothing is logged")
}

package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	imagepolicyv1 "k8s.io/api/imagepolicy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/apitest"
)

// only is a chain of one plugin, configured by a document.
func only(t *testing.T, name, document string) (*admission.Chain, *apitest.API) {
	t.Helper()
	ns := namespace("ns", "")
	ns.Annotations = map[string]string{
		nodeSelectorAnnotation:       "env=prod",
		defaultTolerationsAnnotation: `[{"key":"dedicated","operator":"Exists"}]`,
		allowedTolerationsAnnotation: `[{"key":"dedicated","operator":"Exists"},{"key":"node.kubernetes.io/memory-pressure","operator":"Exists"}]`,
	}
	api := apitest.New(map[client.GVR][]client.Object{client.Namespaces.GVR: {ns, namespace("plain", "")}})
	inf := client.NewInformers(api)
	cfg := Config{API: api, Informers: inf, Enable: []string{name}, Table: object.Builtin(), Authorizer: authorizer.AuthorizerFunc(mayTouch)}
	if document != "" {
		file := filepath.Join(t.TempDir(), "admission.yaml")
		text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: " + name + "\n  path: " + name + ".yaml\n"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), name+".yaml"), []byte(document), 0o600))
		var err error
		cfg.Settings, err = LoadSettings(file)
		require.NoError(t, err)
	}
	for _, n := range DefaultNames() {
		if n != name {
			cfg.Disable = append(cfg.Disable, n)
		}
	}
	if cfg.Disable != nil && !isStandby(name) {
		cfg.Enable = nil
	}
	c, err := Default(cfg)
	require.NoError(t, err)
	inf.Start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, inf.WaitForSync(ctx))
	return c, api
}

func isStandby(name string) bool {
	for _, n := range DefaultNames() {
		if n == name {
			return false
		}
	}
	return true
}

// mayTouch lets ann do everything, and bob nothing.
func mayTouch(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetUser().GetName() == "ann" {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "no", nil
}

func TestStandbyPlugins(t *testing.T) {
	bob := &user.DefaultInfo{Name: "bob"}
	configMaps := corev1.SchemeGroupVersion.WithResource("configmaps")
	affine := func(key string) *corev1.Pod {
		return pod("ns", func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: key}}}}
		})
	}
	selecting := func(k, v string) *corev1.Pod {
		return pod("ns", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{k: v} })
	}
	tolerating := func(key string) *corev1.Pod {
		return pod("ns", func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: key, Operator: corev1.TolerationOpExists}}
		})
	}
	owned := func(block bool) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Name: "d", UID: "1", BlockOwnerDeletion: &block}}}}
	}
	unknownOwner := owned(true)
	unknownOwner.OwnerReferences[0].Kind = "Nothing"
	bare := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}}
	const selectors = "podNodeSelectorPluginConfig:\n  clusterDefaultNodeSelector: any=where\n  ns: env=prod,disk=ssd\n"
	for _, x := range []struct {
		name, plugin, document string
		op                     admission.Operation
		r                      schema.GroupVersionResource
		obj, old               object.Object
		who                    user.Info
		says                   string
		check                  func(*testing.T, object.Object)
	}{
		{"deny", "AlwaysDeny", "", admission.Create, configMaps, bare, nil, ann, `configmaps "c" is forbidden: admission control is denying all modifications`, nil},
		{"deny delete", "AlwaysDeny", "", admission.Delete, configMaps, nil, bare, ann, "admission control is denying all modifications", nil},
		{"admit", "AlwaysAdmit", "", admission.Create, configMaps, bare, nil, ann, "", nil},
		{"namespace exists", "NamespaceExists", "", admission.Update, configMaps, &corev1.ConfigMap{ObjectMeta: om("nowhere", "c")}, bare, ann, `namespaces "nowhere" not found`, nil},
		{"zone", "LimitPodHardAntiAffinityTopology", "", admission.Create, pods, affine("zone"), nil, ann,
			"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed", nil},
		{"host", "LimitPodHardAntiAffinityTopology", "", admission.Create, pods, affine(corev1.LabelHostname), nil, ann, "", nil},
		{"extended resource", "ExtendedResourceToleration", "", admission.Create, pods, pod("ns", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": list("x", "1")["x"], "cpu": list("x", "1")["x"]}
		}), nil, ann, "", func(t *testing.T, o object.Object) {
			require.Equal(t, []corev1.Toleration{{Key: "example.com/gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}, o.(*corev1.Pod).Spec.Tolerations)
		}},
		{"selector of the namespace", "PodNodeSelector", selectors, admission.Create, pods, selecting("disk", "ssd"), nil, ann, "", func(t *testing.T, o object.Object) {
			require.Equal(t, map[string]string{"env": "prod", "disk": "ssd"}, o.(*corev1.Pod).Spec.NodeSelector)
		}},
		{"selector by default", "PodNodeSelector", selectors, admission.Create, pods, pod("plain", nil), nil, ann, "", func(t *testing.T, o object.Object) {
			require.Equal(t, map[string]string{"any": "where"}, o.(*corev1.Pod).Spec.NodeSelector)
		}},
		{"selector in conflict", "PodNodeSelector", selectors, admission.Create, pods, selecting("env", "test"), nil, ann, "pod node label selector conflicts with its namespace node label selector", nil},
		{"selector that is not allowed", "PodNodeSelector", selectors, admission.Create, pods, selecting("gpu", "yes"), nil, ann, "pod node label selector labels conflict with its namespace whitelist", nil},
		{"tolerations of the namespace", "PodTolerationRestriction", "", admission.Create, pods, pod("ns", nil), nil, ann, "", func(t *testing.T, o object.Object) {
			require.Equal(t, []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}, o.(*corev1.Pod).Spec.Tolerations)
		}},
		{"toleration that is not allowed", "PodTolerationRestriction", "", admission.Create, pods, tolerating("other"), nil, ann,
			"pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist", nil},
		{"toleration of memory pressure", "PodTolerationRestriction", "", admission.Create, pods, pod("plain", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = list("cpu", "1")
		}), nil, ann, "", func(t *testing.T, o object.Object) {
			require.Equal(t, []corev1.Toleration{{Key: "node.kubernetes.io/memory-pressure", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}, o.(*corev1.Pod).Spec.Tolerations)
		}},
		{"tolerations of the cluster", "PodTolerationRestriction",
			"apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\nkind: Configuration\ndefault:\n- {key: a, operator: Exists}\nwhitelist:\n- {key: b, operator: Exists}\n",
			admission.Create, pods, pod("plain", nil), nil, ann, "conflict with its namespace whitelist", nil},
		{"owner of a new object", "OwnerReferencesPermissionEnforcement", "", admission.Create, configMaps, owned(false), nil, bob, "", nil},
		{"owner", "OwnerReferencesPermissionEnforcement", "", admission.Update, configMaps, owned(false), bare, bob, "cannot set an ownerRef on a resource you can't delete: no, <nil>", nil},
		{"owner by one who may", "OwnerReferencesPermissionEnforcement", "", admission.Update, configMaps, owned(true), bare, ann, "", nil},
		{"same owner", "OwnerReferencesPermissionEnforcement", "", admission.Update, configMaps, owned(true), owned(true), bob, "", nil},
		{"blocking owner", "OwnerReferencesPermissionEnforcement", "", admission.Create, configMaps, owned(true), nil, bob, "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: no, <nil>", nil},
		{"owner of no kind", "OwnerReferencesPermissionEnforcement", "", admission.Create, configMaps, unknownOwner, nil, ann,
			`cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion apps/v1 Kind Nothing: no matches for kind "Nothing" in version "apps/v1"`, nil},
		{"pod security by default", "PodSecurity", "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\ndefaults: {enforce: baseline}\nexemptions: {usernames: [bob]}\n",
			admission.Create, pods, pod("ns", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), nil, ann, `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`, nil},
		{"exempt of pod security", "PodSecurity", "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\ndefaults: {enforce: baseline}\nexemptions: {usernames: [bob]}\n",
			admission.Create, pods, pod("ns", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), nil, bob, "", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, _ := only(t, x.plugin, x.document)
			err := admit(t, c, x.op, x.r, "", x.obj, x.old, x.who)
			if x.says != "" {
				require.ErrorContains(t, err, x.says)
				return
			}
			require.NoError(t, err)
			if x.check != nil {
				x.check(t, x.obj)
			}
		})
	}
}

func TestNamespaceAutoProvision(t *testing.T) {
	c, api := only(t, "NamespaceAutoProvision", "")
	require.NoError(t, admit(t, c, admission.Create, corev1.SchemeGroupVersion.WithResource("configmaps"), "", &corev1.ConfigMap{ObjectMeta: om("new", "c")}, nil, ann))
	_, err := client.Namespaces.Get(t.Context(), api, "", "new")
	require.NoError(t, err)
}

func TestEventRateLimit(t *testing.T) {
	c, _ := only(t, "EventRateLimit", "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\nlimits:\n"+
		"- {type: SourceAndObject, qps: 1, burst: 2}\n- {type: Namespace, qps: 1, burst: 3, cacheSize: 10}\n")
	events := corev1.SchemeGroupVersion.WithResource("events")
	send := func(ns, about string) error {
		return admit(t, c, admission.Create, events, "", &corev1.Event{ObjectMeta: om(ns, "e"), InvolvedObject: corev1.ObjectReference{Name: about}, Source: corev1.EventSource{Component: "x"}}, nil, ann)
	}
	require.NoError(t, send("ns", "a"))
	require.NoError(t, send("ns", "a"))
	require.ErrorContains(t, send("ns", "a"), "limit reached on type SourceAndObject for key xa")
	require.ErrorContains(t, send("ns", "b"), "limit reached on type Namespace for key ns")
	require.NoError(t, send("other", "b"))

	_, err := Default(Config{API: apitest.New(nil), Informers: client.NewInformers(apitest.New(nil)), Enable: []string{"EventRateLimit"}})
	require.ErrorContains(t, err, "admission plugin EventRateLimit: limits: Required value")
}

func TestImagePolicyWebhook(t *testing.T) {
	asked := 0
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var review imagepolicyv1.ImageReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		for _, c := range review.Spec.Containers {
			if c.Image == "down" {
				http.Error(w, "not now", http.StatusBadRequest)
				return
			}
			review.Status.Allowed = c.Image == "good"
		}
		review.Status.Reason = fmt.Sprintf("asked for %v", review.Spec.Annotations["team.image-policy.k8s.io/ticket"])
		_ = json.NewEncoder(w).Encode(&review)
	}))
	defer hook.Close()
	kubeconfig := filepath.Join(t.TempDir(), "hook.kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\nclusters:\n- name: h\n  cluster: {server: '"+hook.URL+
		"'}\ncontexts:\n- name: h\n  context: {cluster: h, user: h}\nusers:\n- name: h\ncurrent-context: h\n"), 0o600))
	running := func(image string) *corev1.Pod {
		return pod("ns", func(p *corev1.Pod) {
			p.Annotations = map[string]string{"team.image-policy.k8s.io/ticket": "7", "other": "x"}
			p.Spec.InitContainers, p.Spec.Containers[0].Image = nil, image
		})
	}
	c, _ := only(t, "ImagePolicyWebhook", "imagePolicy:\n  kubeConfigFile: "+kubeconfig+"\n  allowTTL: 50\n  denyTTL: 50\n  retryBackoff: 500\n  defaultAllow: false\n")
	try := func(image string) error { return admit(t, c, admission.Create, pods, "", running(image), nil, ann) }
	require.NoError(t, try("good"))
	require.NoError(t, try("good"))
	require.Equal(t, 1, asked, "what was allowed is remembered")
	require.ErrorContains(t, try("bad"), "image policy webhook backend denied one or more images: asked for 7")
	require.ErrorContains(t, try("down"), "not now")
	c, _ = only(t, "ImagePolicyWebhook", "imagePolicy:\n  kubeConfigFile: "+kubeconfig+"\n  defaultAllow: true\n")
	require.NoError(t, try("down"))
}

func TestSettingsAreRefused(t *testing.T) {
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "a.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
	for text, says := range map[string]string{
		"apiVersion: v1\nkind: Pod\n":                                    `wanted apiVersion "apiserver.config.k8s.io/v1"`,
		head + "- name: Nonsense\n  configuration: {}\n":                 `unknown admission plugin "Nonsense"`,
		head + "- name: Priority\n  configuration: {}\n":                 "takes no configuration here",
		head + "- name: PodSecurity\n  path: missing\n":                  "no such file",
		head + "- name: PodSecurity\n  colour: red\n":                    "colour",
		head + "- name: PodSecurity\n  path: x\n- name: Nonsense\n":      "",
		head + "- name: ResourceQuota\n  configuration: {kind: Other}\n": "",
	} {
		s, err := LoadSettings(write(text))
		if says != "" {
			require.ErrorContains(t, err, says)
			continue
		}
		if err == nil {
			_, err = s.LimitedResources()
		}
		require.Error(t, err)
	}
	s, err := LoadSettings(write(head + `- name: ResourceQuota
  configuration:
    apiVersion: resourcequota.admission.k8s.io/v1
    kind: Configuration
    limitedResources: [{resource: pods, matchScopes: [{scopeName: PriorityClass, operator: In, values: [cluster-services]}]}]
`))
	require.NoError(t, err)
	_, err = s.LimitedResources()
	require.ErrorContains(t, err, "wanted apiVersion")
}

package plugins

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/apitest"
)

func om(ns, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(name + "-uid")}
}

func namespace(name, level string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: om("", name)}
	if level != "" {
		n.Labels = map[string]string{"pod-security.kubernetes.io/enforce": level}
	}
	return n
}

// chain is the whole default chain over an API with one of everything.
func chain(t *testing.T) (*admission.Chain, *apitest.API) {
	t.Helper()
	dying := namespace("dying", "")
	dying.Status.Phase = corev1.NamespaceTerminating
	api := apitest.New(map[client.GVR][]client.Object{
		client.Namespaces.GVR:      {namespace("ns", ""), namespace("strict", "restricted"), dying, namespace("limited", "")},
		client.ServiceAccounts.GVR: {account("ns"), account("strict"), account("limited"), &corev1.ServiceAccount{ObjectMeta: om("ns", "quiet"), AutomountServiceAccountToken: ptr.To(false)}},
		client.PriorityClasses.GVR: {&schedulingv1.PriorityClass{ObjectMeta: om("", "high"), Value: 1000, PreemptionPolicy: ptr.To(corev1.PreemptNever)}},
		client.RuntimeClasses.GVR: {&nodev1.RuntimeClass{ObjectMeta: om("", "vm"), Handler: "vm", Overhead: &nodev1.Overhead{PodFixed: list("cpu", "250m")},
			Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{{Key: "vm", Operator: corev1.TolerationOpExists}}}}},
		storageClasses.GVR: {defaultClass("old", 1), defaultClass("new", 2), &storagev1.StorageClass{ObjectMeta: om("", "other")}},
		ingressClasses.GVR: {&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}}}},
		limitRanges.GVR: {&corev1.LimitRange{ObjectMeta: om("limited", "l"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: corev1.LimitTypeContainer, Default: list("cpu", "200m"), DefaultRequest: list("cpu", "100m"), Min: list("cpu", "50m"), Max: list("cpu", "1"), MaxLimitRequestRatio: list("cpu", "4")}}}}},
		client.Nodes.GVR: {&corev1.Node{ObjectMeta: om("", "n1")}},
		client.Pods.GVR:  {&corev1.Pod{ObjectMeta: om("ns", "mine"), Spec: corev1.PodSpec{NodeName: "n1", ServiceAccountName: "default"}}, &corev1.Pod{ObjectMeta: om("ns", "theirs"), Spec: corev1.PodSpec{NodeName: "n2"}}},
	})
	inf := client.NewInformers(api)
	allow := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	})
	c, err := Default(Config{API: api, Informers: inf, Authorizer: allow})
	require.NoError(t, err)
	inf.Start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, inf.WaitForSync(ctx))
	return c, api
}

func account(ns string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: om(ns, "default"), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}
}

func defaultClass(name string, at int64) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(at, 0), Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}}
}

func list(name, quantity string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceName(name): resource.MustParse(quantity)}
}

func pod(ns string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: om(ns, "p"), Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "i", Image: "i"}}, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if change != nil {
		change(p)
	}
	return p
}

var (
	pods  = corev1.SchemeGroupVersion.WithResource("pods")
	nodes = corev1.SchemeGroupVersion.WithResource("nodes")
	ann   = &user.DefaultInfo{Name: "ann"}
	node1 = &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}
)

// admit runs both phases.
func admit(t *testing.T, c *admission.Chain, op admission.Operation, r schema.GroupVersionResource, sub string, obj, old object.Object, who user.Info) error {
	t.Helper()
	a := &admission.Attributes{Operation: op, GVR: r, Subresource: sub, Object: obj, OldObject: old, User: who, Warn: func(string) {}, Annotate: func(string, string) {}}
	for _, o := range []object.Object{old, obj} {
		if o != nil {
			a.Namespace, a.Name = o.GetNamespace(), o.GetName()
		}
	}
	if err := c.Mutate(t.Context(), a); err != nil {
		return err
	}
	return c.Validate(t.Context(), a)
}

func TestPodGetsItsDefaults(t *testing.T) {
	c, _ := chain(t)
	p := pod("ns", nil)
	require.NoError(t, admit(t, c, admission.Create, pods, "", p, nil, ann))
	require.Equal(t, "default", p.Spec.ServiceAccountName)
	require.Equal(t, "default", p.Spec.DeprecatedServiceAccount)
	require.Equal(t, []corev1.LocalObjectReference{{Name: "pull"}}, p.Spec.ImagePullSecrets)
	require.Len(t, p.Spec.Volumes, 1)
	v := p.Spec.Volumes[0]
	require.Regexp(t, `^kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}$`, v.Name)
	require.Equal(t, int64(3607), *v.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds)
	require.Equal(t, "kube-root-ca.crt", v.Projected.Sources[1].ConfigMap.Name)
	require.Equal(t, int32(0o644), *v.Projected.DefaultMode)
	mount := []corev1.VolumeMount{{Name: v.Name, ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}}
	require.Equal(t, mount, p.Spec.Containers[0].VolumeMounts)
	require.Equal(t, mount, p.Spec.InitContainers[0].VolumeMounts)
	require.Equal(t, int32(0), *p.Spec.Priority)
	require.Equal(t, corev1.PreemptLowerPriority, *p.Spec.PreemptionPolicy)
	require.Len(t, p.Spec.Tolerations, 2)
	require.Equal(t, int64(300), *p.Spec.Tolerations[0].TolerationSeconds)

	again := p.DeepCopy()
	require.NoError(t, admit(t, c, admission.Create, pods, "", again, nil, ann))
	require.Equal(t, p, again, "a second run changes nothing")
}

func TestPods(t *testing.T) {
	c, _ := chain(t)
	for name, x := range map[string]struct {
		p     *corev1.Pod
		says  string // empty: admitted
		check func(t *testing.T, p *corev1.Pod)
	}{
		"no such namespace": {p: pod("none", nil), says: `namespaces "none" not found`},
		"dying namespace":   {p: pod("dying", nil), says: "because it is being terminated"},
		"no such account":   {p: pod("ns", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }), says: `error looking up service account ns/x: serviceaccount "x" not found`},
		"account without token": {p: pod("ns", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "quiet" }), check: func(t *testing.T, p *corev1.Pod) {
			require.Empty(t, p.Spec.Volumes)
		}},
		"pod overrules account": {p: pod("ns", func(p *corev1.Pod) {
			p.Spec.ServiceAccountName = "quiet"
			p.Spec.AutomountServiceAccountToken = ptr.To(true)
		}), check: func(t *testing.T, p *corev1.Pod) {
			require.Len(t, p.Spec.Volumes, 1)
		}},
		"priority": {p: pod("ns", func(p *corev1.Pod) { p.Spec.PriorityClassName = "high" }), check: func(t *testing.T, p *corev1.Pod) {
			require.Equal(t, int32(1000), *p.Spec.Priority)
			require.Equal(t, corev1.PreemptNever, *p.Spec.PreemptionPolicy)
		}},
		"no such priority":   {p: pod("ns", func(p *corev1.Pod) { p.Spec.PriorityClassName = "x" }), says: "no PriorityClass with name x was found"},
		"priority by number": {p: pod("ns", func(p *corev1.Pod) { p.Spec.Priority = ptr.To[int32](7) }), says: "the integer value of priority (7) must not be provided in pod spec"},
		"no such runtime":    {p: pod("ns", func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("x") }), says: `RuntimeClass "x" not found`},
		"overhead by hand":   {p: pod("ns", func(p *corev1.Pod) { p.Spec.Overhead = list("cpu", "1") }), says: "Pod Overhead set without corresponding RuntimeClass"},
		"other overhead":     {p: pod("ns", func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("vm"); p.Spec.Overhead = list("cpu", "1") }), says: "doesn't match RuntimeClass's defined Overhead"},
		"conflicting runtime": {p: pod("ns", func(p *corev1.Pod) {
			p.Spec.RuntimeClassName = ptr.To("vm")
			p.Spec.NodeSelector = map[string]string{"vm": "no"}
		}), says: "conflict: "},
		"runtime": {p: pod("ns", func(p *corev1.Pod) { p.Spec.RuntimeClassName = ptr.To("vm") }), check: func(t *testing.T, p *corev1.Pod) {
			require.Equal(t, "yes", p.Spec.NodeSelector["vm"])
			require.True(t, p.Spec.Overhead.Cpu().Equal(resource.MustParse("250m")))
			require.Equal(t, "vm", p.Spec.Tolerations[len(p.Spec.Tolerations)-1].Key)
		}},
		"privileged where allowed": {p: pod("ns", func(p *corev1.Pod) { p.Spec.HostNetwork = true })},
		"restricted":               {p: pod("strict", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), says: `violates PodSecurity "restricted:latest"`},
		"limits by default": {p: pod("limited", nil), check: func(t *testing.T, p *corev1.Pod) {
			require.Equal(t, "100m", p.Spec.Containers[0].Resources.Requests.Cpu().String())
			require.Equal(t, "200m", p.Spec.Containers[0].Resources.Limits.Cpu().String())
			require.Equal(t, "LimitRanger plugin set: cpu request for container c; cpu limit for container c; cpu request for init container i; cpu limit for init container i", p.Annotations["kubernetes.io/limit-ranger"])
		}},
		"below minimum": {p: pod("limited", func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = list("cpu", "10m") }), says: "minimum cpu usage per Container is 50m, but request is 10m"},
		"above maximum": {p: pod("limited", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list("cpu", "1"), Limits: list("cpu", "2")}
		}), says: "maximum cpu usage per Container is 1, but limit is 2"},
		"wrong ratio": {p: pod("limited", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list("cpu", "100m"), Limits: list("cpu", "1")}
		}), says: "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000"},
	} {
		t.Run(name, func(t *testing.T) {
			err := admit(t, c, admission.Create, pods, "", x.p, nil, ann)
			if x.says != "" {
				require.ErrorContains(t, err, x.says)
				require.True(t, apierrors.IsForbidden(err) || apierrors.IsNotFound(err), err)
				return
			}
			require.NoError(t, err)
			if x.check != nil {
				x.check(t, x.p)
			}
		})
	}
}

func TestTerminatingCause(t *testing.T) {
	c, _ := chain(t)
	err := admit(t, c, admission.Create, corev1.SchemeGroupVersion.WithResource("configmaps"), "", &corev1.ConfigMap{ObjectMeta: om("dying", "x")}, nil, ann)
	require.True(t, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), err)
	require.Error(t, admit(t, c, admission.Delete, corev1.SchemeGroupVersion.WithResource("namespaces"), "", nil, namespace("kube-system", ""), ann))
	require.NoError(t, admit(t, c, admission.Delete, corev1.SchemeGroupVersion.WithResource("namespaces"), "", nil, namespace("ns", ""), ann))
}

func TestDefaultAccountIsAwaited(t *testing.T) {
	c, api := chain(t)
	api.Put(client.Namespaces.GVR, namespace("fresh", ""))
	done := make(chan error, 1)
	go func() { done <- admit(t, c, admission.Create, pods, "", pod("fresh", nil), nil, ann) }()
	api.Put(client.ServiceAccounts.GVR, account("fresh"))
	require.NoError(t, <-done)
}

func TestOtherDefaults(t *testing.T) {
	c, _ := chain(t)
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: om("ns", "c")}
	require.NoError(t, admit(t, c, admission.Create, corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"), "", pvc, nil, ann))
	require.Equal(t, "new", *pvc.Spec.StorageClassName)
	require.Equal(t, []string{"kubernetes.io/pvc-protection"}, pvc.Finalizers)
	ing := &networkingv1.Ingress{ObjectMeta: om("ns", "i")}
	require.NoError(t, admit(t, c, admission.Create, networkingv1.SchemeGroupVersion.WithResource("ingresses"), "", ing, nil, ann))
	require.Equal(t, "web", *ing.Spec.IngressClassName)
	node := &corev1.Node{ObjectMeta: om("", "n9")}
	require.NoError(t, admit(t, c, admission.Create, nodes, "", node, nil, ann))
	require.Equal(t, []corev1.Taint{{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}}, node.Spec.Taints)
}

func TestNodeRestriction(t *testing.T) {
	c, _ := chain(t)
	mirror := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: om("ns", "static-n1"), Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c"}}}}
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "n1-uid", Controller: ptr.To(true)}}
		if change != nil {
			change(p)
		}
		return p
	}
	on := func(node string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: om("ns", "p"), Spec: corev1.PodSpec{NodeName: node}}
	}
	labelled := func(name, key string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{key: "v"}}}
	}
	token := func(pod string, uid types.UID, auds ...string) *authnv1.TokenRequest {
		r := &authnv1.TokenRequest{ObjectMeta: om("ns", "default"), Spec: authnv1.TokenRequestSpec{Audiences: auds}}
		if pod != "" {
			r.Spec.BoundObjectRef = &authnv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod, UID: uid}
		}
		return r
	}
	sa := corev1.SchemeGroupVersion.WithResource("serviceaccounts")
	tainted := labelled("n1", "a")
	tainted.Spec.Taints = []corev1.Taint{{Key: "k"}}
	for name, x := range map[string]struct {
		op       admission.Operation
		r        schema.GroupVersionResource
		sub      string
		obj, old object.Object
		says     string
	}{
		"mirror pod":          {admission.Create, pods, "", mirror(nil), nil, ""},
		"real pod":            {admission.Create, pods, "", pod("ns", nil), nil, "can only create mirror pods"},
		"mirror elsewhere":    {admission.Create, pods, "", mirror(func(p *corev1.Pod) { p.Spec.NodeName = "n2" }), nil, "spec.nodeName set to itself"},
		"mirror with account": {admission.Create, pods, "", mirror(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" }), nil, "service account"},
		"mirror with secret": {admission.Create, pods, "", mirror(func(p *corev1.Pod) {
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}}
		}), nil, "secrets"},
		"mirror unowned":     {admission.Create, pods, "", mirror(func(p *corev1.Pod) { p.OwnerReferences = nil }), nil, "owner reference set to itself"},
		"own pod deleted":    {admission.Delete, pods, "", nil, on("n1"), ""},
		"other pod deleted":  {admission.Delete, pods, "", nil, on("n2"), "can only delete pods with spec.nodeName set to itself"},
		"own status":         {admission.Update, pods, "status", on("n1"), on("n1"), ""},
		"other status":       {admission.Update, pods, "status", on("n2"), on("n2"), "can only update pod status"},
		"own node":           {admission.Create, nodes, "", labelled("n1", "kubernetes.io/os"), nil, ""},
		"other node":         {admission.Create, nodes, "", labelled("n2", "kubernetes.io/os"), nil, `node "n1" is not allowed to modify node "n2"`},
		"restricted label":   {admission.Create, nodes, "", labelled("n1", "node-restriction.kubernetes.io/x"), nil, "is not allowed to set the following labels: node-restriction.kubernetes.io/x"},
		"role label":         {admission.Update, nodes, "", labelled("n1", "node-role.kubernetes.io/x"), labelled("n1", "a"), "is not allowed to modify labels: node-role.kubernetes.io/x"},
		"own label":          {admission.Update, nodes, "", labelled("n1", "example.org/x"), labelled("n1", "a"), ""},
		"taint":              {admission.Update, nodes, "", tainted, labelled("n1", "a"), "is not allowed to modify taints"},
		"token":              {admission.Create, sa, "token", token("mine", "mine-uid"), nil, ""},
		"token of no pod":    {admission.Create, sa, "token", token("", ""), nil, "not bound to a pod"},
		"token of other pod": {admission.Create, sa, "token", token("theirs", "theirs-uid"), nil, "scheduled on a different node"},
		"token for an other": {admission.Create, sa, "token", token("mine", "mine-uid", "vault"), nil, `audience "vault" not found in pod spec volume`},
	} {
		t.Run(name, func(t *testing.T) {
			err := admit(t, c, x.op, x.r, x.sub, x.obj, x.old, node1)
			if x.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, x.says)
		})
	}
}

func TestSwitches(t *testing.T) {
	api := apitest.New(nil)
	build := func(enable, disable string) ([]string, error) {
		split := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) }
		c, err := Default(Config{API: api, Informers: client.NewInformers(api), Enable: split(enable), Disable: split(disable)})
		if err != nil {
			return nil, err
		}
		return c.Names(), nil
	}
	names, err := build("AlwaysPullImages", "PodSecurity,ResourceQuota")
	require.NoError(t, err)
	require.Contains(t, names, "AlwaysPullImages")
	require.NotContains(t, names, "PodSecurity")
	_, err = build("Nonsense", "")
	require.ErrorContains(t, err, `unknown admission plugin "Nonsense"`)
	_, err = build("Priority", "Priority")
	require.ErrorContains(t, err, "both enabled and disabled")
}

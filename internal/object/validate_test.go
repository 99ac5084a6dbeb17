package object

import (
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// parse reads one object in YAML and defaults it.
func parse(t *testing.T, table *Table, text string) (*Kind, Object) {
	t.Helper()
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
		t.Fatal(err)
	}
	k, v := table.Kind(schema.FromAPIVersionAndKind(meta.APIVersion, meta.Kind))
	if v == nil {
		t.Fatalf("no row for\n%s", text)
	}
	obj, ok := v.New().(Object)
	if !ok {
		t.Fatalf("no metadata in\n%s", text)
	}
	if err := yaml.UnmarshalStrict([]byte(text), obj); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return k, obj
}

func errorTexts(errs field.ErrorList) string {
	var all []string
	for _, e := range errs {
		all = append(all, e.Error())
	}
	return strings.Join(all, "\n")
}

func pod(spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: " + spec
}

func service(spec string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: " + spec
}

func deployment(spec string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: a}\nspec: " + spec
}

func TestValidateCreate(t *testing.T) {
	table := Builtin()
	for _, tc := range []struct{ name, text, want string }{
		{"no containers", pod(`{}`), `spec.containers: Required value`},
		{"bad names", "apiVersion: v1\nkind: Pod\nmetadata: {name: P_, namespace: a, labels: {'-': x}}\nspec: {containers: [{name: c, image: i}]}",
			`metadata.name: Invalid value: "P_": a lowercase RFC 1123 subdomain`},
		{"same name twice", pod(`{containers: [{name: c, image: i}, {name: c, image: i}]}`), `spec.containers[1].name: Duplicate value: "c"`},
		{"image", pod(`{containers: [{name: c}]}`), `spec.containers[0].image: Required value`},
		{"pull policy", pod(`{containers: [{name: c, image: i, imagePullPolicy: Now}]}`),
			`spec.containers[0].imagePullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never"`},
		{"restart policy", pod(`{restartPolicy: Sometimes, containers: [{name: c, image: i}]}`),
			`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`},
		{"request above limit", pod(`{containers: [{name: c, image: i, resources: {limits: {cpu: 1}, requests: {cpu: 2}}}]}`),
			`spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`},
		{"extended resource", pod(`{containers: [{name: c, image: i, resources: {requests: {example.com/gpu: 1}}}]}`),
			`spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources`},
		{"resource name", pod(`{containers: [{name: c, image: i, resources: {requests: {pods: 1}}}]}`),
			`must be a standard resource for containers`},
		{"unknown volume", pod(`{containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /x}]}]}`),
			`spec.containers[0].volumeMounts[0].name: Not found: "v"`},
		{"mounted twice", pod(`{containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /x}, {name: v, mountPath: /x}]}], volumes: [{name: v}]}`),
			`spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique`},
		{"two sources", pod(`{containers: [{name: c, image: i}], volumes: [{name: v, emptyDir: {}, secret: {secretName: s}}]}`),
			`may not specify more than 1 volume type`},
		{"path out of volume", pod(`{containers: [{name: c, image: i}], volumes: [{name: v, configMap: {name: x, items: [{key: k, path: ../y}]}}]}`),
			`spec.volumes[0].configMap.items[0].path: Invalid value: "../y": must not contain '..'`},
		{"probe without handler", pod(`{containers: [{name: c, image: i, livenessProbe: {}}]}`),
			`spec.containers[0].livenessProbe: Required value: must specify a handler type`},
		{"two handlers", pod(`{containers: [{name: c, image: i, livenessProbe: {exec: {command: [x]}, tcpSocket: {port: 1}}}]}`),
			`spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`},
		{"probe port", pod(`{containers: [{name: c, image: i, readinessProbe: {httpGet: {port: 70000}}}]}`),
			`spec.containers[0].readinessProbe.httpGet.port: Invalid value: 70000: must be between 1 and 65535, inclusive`},
		{"env source", pod(`{containers: [{name: c, image: i, env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]}]}`),
			`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x`},
		{"init probe", pod(`{containers: [{name: c, image: i}], initContainers: [{name: n, image: i, livenessProbe: {tcpSocket: {port: 1}}}]}`),
			`spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always`},
		{"ephemeral on create", pod(`{containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]}`),
			`spec.ephemeralContainers: Forbidden: cannot be set on create`},
		{"sysctl", pod(`{containers: [{name: c, image: i}], securityContext: {sysctls: [{name: foo-, value: bar}]}}`),
			`spec.securityContext.sysctls[0].name: Invalid value: "foo-": must have at most 253 characters and match regex`},
		{"toleration", pod(`{containers: [{name: c, image: i}], tolerations: [{operator: Equal, value: x}]}`),
			`spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when`},
		{"spread", pod(`{containers: [{name: c, image: i}], topologySpreadConstraints: [{maxSkew: 0, topologyKey: z, whenUnsatisfiable: DoNotSchedule}]}`),
			`spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero`},
		{"host port", pod(`{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80, hostPort: 81}]}]}`),
			"must match `containerPort` when `hostNetwork` is true"},
		{"dns", pod(`{dnsPolicy: None, containers: [{name: c, image: i}]}`), "must provide `dnsConfig` when `dnsPolicy` is None"},
		{"certificate life", pod(`{containers: [{name: c, image: i}], volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: a.b/c, keyType: ED25519, keyPath: k, maxExpirationSeconds: 60}}]}}]}`),
			"if provided, maxExpirationSeconds must be >= 3600"},

		{"no ports", service(`{}`), `spec.ports: Required value`},
		{"headless needs no ports", service(`{clusterIP: None}`), ``},
		{"node port of cluster IP", service(`{ports: [{port: 80, nodePort: 30000}]}`),
			"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
		{"unnamed ports", service(`{ports: [{port: 80}, {port: 81, name: x}]}`), `spec.ports[0].name: Required value`},
		{"external name", service(`{type: ExternalName}`), `spec.externalName: Required value`},
		{"headless balancer", service(`{type: LoadBalancer, clusterIP: None, ports: [{port: 80}]}`),
			`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services`},
		{"affinity", service(`{sessionAffinity: Cookie, ports: [{port: 80}]}`),
			`spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"`},
		{"traffic policy", service(`{externalTrafficPolicy: Local, ports: [{port: 80}]}`),
			`spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`},

		{"selector and labels", deployment(`{selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}`),
			"spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"},
		{"no selector", deployment(`{template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}`), "spec.selector: Required value\n" +
			"spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"},
		{"restart policy of template", deployment(`{selector: {matchLabels: {a: c}}, template: {metadata: {labels: {a: c}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}`),
			`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`},
		{"no progress possible", deployment(`{strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}, selector: {matchLabels: {a: c}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}`),
			"may not be 0 when `maxSurge` is 0"},
		{"job restarts", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: a}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}",
			`spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"`},
		{"schedule", "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j, namespace: a}\nspec: {schedule: x, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}",
			`spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]`},
		{"rule without verbs", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: a}\nrules: [{apiGroups: [''], resources: [pods]}]",
			`rules[0].verbs: Required value`},
		{"system class", "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: system-x}\nvalue: 1",
			`metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only`},
		{"trust bundle name", "apiVersion: certificates.k8s.io/v1\nkind: ClusterTrustBundle\nmetadata: {name: 'x:y'}\nspec: {trustBundle: ''}",
			`must not have ":" in its name`},
		{"definition of a bad name", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: foos.example.com}\nspec: {group: example.com, scope: Cluster, names: {plural: foos, kind: Foo}, versions: [{name: V1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}",
			`spec.versions[0].name: Invalid value: "V1": a DNS-1035 label must consist of`},
		{"address name", "apiVersion: networking.k8s.io/v1\nkind: IPAddress\nmetadata: {name: 010.0.0.1}\nspec: {parentRef: {resource: services, name: x}}",
			`must not have leading 0s`},
		{"secret data", "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\ntype: kubernetes.io/tls\ndata: {tls.crt: ''}",
			`data[tls.key]: Required value`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, obj := parse(t, table, tc.text)
			created(k, obj)
			got := errorTexts(k.Validate(obj))
			if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func TestValidateUpdate(t *testing.T) {
	table := Builtin()
	base := `{containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}], tolerations: [{key: a, operator: Exists}], activeDeadlineSeconds: 100}`
	dep := `{selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}`
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: a}\nspec: {completions: %, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}"
	for _, tc := range []struct{ name, sub, old, text, want string }{
		{"image", "", pod(base), pod(strings.Replace(base, "image: i", "image: j", 1)), ``},
		{"command", "", pod(base), pod(strings.Replace(base, "image: i", "image: i, command: [x]", 1)), "spec: Forbidden: " + podUpdateText},
		{"container added", "", pod(base), pod(strings.Replace(base, "containers: [", "containers: [{name: d, image: i}, ", 1)),
			`spec.containers: Forbidden: pod updates may not add or remove containers`},
		{"toleration added", "", pod(base), pod(strings.Replace(base, "Exists}", "Exists}, {key: b, operator: Exists}", 1)), ``},
		{"toleration changed", "", pod(base), pod(strings.Replace(base, "key: a", "key: b", 1)),
			`spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds`},
		{"deadline longer", "", pod(base), pod(strings.Replace(base, "100", "101", 1)), `must be less than or equal to previous value`},
		{"deadline shorter", "", pod(base), pod(strings.Replace(base, "100", "99", 1)), ``},
		{"new gate", "", pod(base), pod(strings.Replace(base, "{containers", "{schedulingGates: [{name: g}], containers", 1)),
			`only deletion is allowed, but found new scheduling gate 'g'`},
		{"resize", "resize", pod(base), pod(strings.Replace(base, "cpu: 1", "cpu: 2", 1)), ``},
		{"resize drops a request", "resize", pod(base), pod(strings.Replace(base, "cpu: 1", "memory: 1Mi", 1)), `resource requests cannot be removed`},
		{"resize changes the class", "resize", pod(base), pod(strings.Replace(base, "{requests: {cpu: 1}}", "{requests: {cpu: 1, memory: 1Mi}, limits: {cpu: 1, memory: 1Mi}}", 1)),
			`Pod QOS Class may not change as a result of resizing`},
		{"debugging", "ephemeralcontainers", pod(base), pod(strings.Replace(base, "{containers", "{ephemeralContainers: [{name: e, image: x}], containers", 1)), ``},

		{"selector", "", deployment(dep), deployment(strings.ReplaceAll(dep, "a: b", "a: c")), `spec.selector: Invalid value:`},
		{"replicas", "", deployment(dep), deployment(strings.Replace(dep, "{selector", "{replicas: 3, selector", 1)), ``},
		{"completions", "", strings.Replace(job, "%", "1", 1), strings.Replace(job, "%", "2", 1), `spec.completions: Invalid value: 2: field is immutable`},
		{"cluster IP", "", service(`{clusterIP: 10.0.0.1, ports: [{port: 80}]}`), service(`{clusterIP: 10.0.0.2, ports: [{port: 80}]}`),
			`spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set`},
		{"cluster IP left out", "", service(`{clusterIP: 10.0.0.1, ports: [{port: 80}]}`), service(`{ports: [{port: 80}]}`), ``},
		{"to external name", "", service(`{clusterIP: 10.0.0.1, ports: [{port: 80}]}`), service(`{clusterIP: 10.0.0.1, type: ExternalName, externalName: x.y, ports: [{port: 80}]}`), ``},
		{"immutable data", "", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: a}\nimmutable: true\ndata: {a: b}",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: a}\ndata: {a: c}", "data: Forbidden: field is immutable when `immutable` is set"},
		{"secret type", "", "apiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: a}", "apiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: a}\ntype: x",
			`type: Invalid value: "x": field is immutable`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, old := parse(t, table, tc.old)
			created(k, old)
			old.SetResourceVersion("3")
			_, obj := parse(t, table, tc.text)
			if k.Default != nil {
				k.Default(obj)
			}
			obj.SetUID(old.GetUID())
			obj.SetCreationTimestamp(old.GetCreationTimestamp())
			obj.SetResourceVersion("3")
			s := k.Strategy
			if tc.sub != "" {
				s = k.Subresource(tc.sub).Strategy
			}
			if j, ok := obj.(*batchv1.Job); ok {
				generateJobSelector(j)
			}
			if s.PrepareUpdate != nil {
				s.PrepareUpdate(obj, old)
			}
			got := errorTexts(s.ValidateUpdate(obj, old))
			if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
			if tc.want == "" && tc.sub != "" && obj.GetGeneration() != old.GetGeneration()+1 {
				t.Errorf("generation %d after %d", obj.GetGeneration(), old.GetGeneration())
			}
		})
	}
}

func TestStatusIsNotTheUsers(t *testing.T) {
	table := Builtin()
	k, obj := parse(t, table, pod(`{containers: [{name: c, image: i}]}`)+"\nstatus: {phase: Running}")
	created(k, obj)
	p, ok := obj.(*corev1.Pod)
	if !ok || p.Status.Phase != corev1.PodPending || p.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Fatalf("status of a new pod: %+v", p.Status)
	}
	next := p.DeepCopy() // as the server hands it over: nothing shared with the old
	next.Status.Phase, next.Spec.NodeName, next.Generation = corev1.PodRunning, "x", 9
	k.Subresource("status").PrepareUpdate(next, p)
	if next.Spec.NodeName != "" || next.Status.Phase != corev1.PodRunning || next.Generation != 1 {
		t.Errorf("after an update of the status: %+v", next)
	}
	next.Spec.NodeName = "x"
	k.PrepareUpdate(next, p)
	if next.Status.Phase != corev1.PodPending || next.Generation != 2 {
		t.Errorf("after an update of the specification: %+v", next)
	}
}

// TestAutoscalersOfOldMayLackAGroup lets what was made before the group of the target was asked for be changed otherwise.
func TestAutoscalersOfOldMayLackAGroup(t *testing.T) {
	k, _ := Builtin().Kind(autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"))
	made := func(version string, most int32) *autoscalingv2.HorizontalPodAutoscaler {
		h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "h", ResourceVersion: "1"}}
		h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: version, Kind: "Deployment", Name: "d"}
		h.Spec.MaxReplicas = most
		k.Default(h)
		return h
	}
	for _, c := range []struct {
		old, new string
		refused  bool
	}{{"", "", false}, {"v1", "", false}, {"apps/v1", "", true}, {"", "apps/v1", false}} {
		if errs := k.ValidateUpdate(made(c.new, 2), made(c.old, 1)); (len(errs) > 0) != c.refused {
			t.Errorf("from %q to %q: %v", c.old, c.new, errs)
		}
	}
	if len(k.Validate(made("v1", 1))) == 0 {
		t.Error("a new one is made without a group")
	}
}

package object

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"
)

func TestPodStatusText(t *testing.T) {
	spec := `spec: {nodeName: n, initContainers: [{name: i}, {name: s, restartPolicy: Always}], containers: [{name: a}, {name: b}]}`
	for _, tc := range []struct{ name, status, ready, text, restarts string }{
		{"pending", `phase: Pending`, "0/3", "Pending", "0"},
		{"gated", `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated}]}`, "0/3", "SchedulingGated", "0"},
		{"first init runs", `{phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}, {name: s, state: {waiting: {reason: PodInitializing}}}]}`, "0/3", "Init:0/2", "0"},
		{"init fails", `{phase: Pending, initContainerStatuses: [{name: i, restartCount: 2, state: {waiting: {reason: CrashLoopBackOff}}}]}`, "0/3", "Init:CrashLoopBackOff", "2"},
		{"init ended badly", `{phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 3}}}]}`, "0/3", "Init:ExitCode:3", "0"},
		{"creating", `{phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}, {name: s, started: true, ready: true, state: {running: {}}}], containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]}`,
			"1/3", "ContainerCreating", "0"},
		{"running", `{phase: Running, conditions: [{type: Ready, status: "True"}], initContainerStatuses: [{name: i, restartCount: 5, state: {terminated: {exitCode: 0}}}, {name: s, started: true, ready: true, restartCount: 1, state: {running: {}}}],
			containerStatuses: [{name: a, ready: true, state: {running: {}}}, {name: b, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {finishedAt: "2026-01-02T03:00:05Z"}}}]}`,
			"3/3", "Running", "3 (4m ago)"},
		{"one completed", `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: a, state: {terminated: {reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]}`,
			"1/3", "NotReady", "0"},
		{"completed", `{phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {reason: Completed}}}]}`, "0/3", "Completed", "0"},
		{"killed", `{phase: Failed, containerStatuses: [{name: a, state: {terminated: {signal: 9, exitCode: 137}}}]}`, "0/3", "Signal:9", "0"},
		{"evicted", `{phase: Failed, reason: Evicted}`, "0/3", "Evicted", "0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p corev1.Pod
			text := "metadata: {name: p}\n" + spec + "\nstatus: " + strings.ReplaceAll(tc.status, "\t", " ")
			if strings.HasPrefix(tc.status, "phase") {
				text = "metadata: {name: p}\n" + spec + "\nstatus: {" + tc.status + "}"
			}
			if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			c := podCells(&p, testTime)
			if c[1] != tc.ready || c[2] != tc.text || c[3] != tc.restarts {
				t.Errorf("got %v", c)
			}
			now := p.CreationTimestamp
			p.DeletionTimestamp = &now
			want := "Terminating"
			if PodTerminal(&p) {
				want = tc.text
			}
			if got := PodStatusText(&p); got != want {
				t.Errorf("deleted: %s, want %s", got, want)
			}
		})
	}
}

func TestPrintedRows(t *testing.T) {
	table := Builtin()
	want := map[string]string{
		"services":                 "s LoadBalancer <none> <pending> 80/TCP 5m app=web",
		"nodes":                    "node-a Unknown control-plane 5m  <none> <none> <unknown> <unknown> <unknown>",
		"deployments":              "d 0/1 0 0 5m c nginx app=web",
		"daemonsets":               "d 0 0 0 0 0 <none> 5m c nginx app=web",
		"jobs":                     "j Running 0/1  5m c nginx batch.kubernetes.io/controller-uid=00000000-0000-0000-0000-000000000001",
		"cronjobs":                 "j */5 * * * * <none> False 0 <none> 5m c nginx <none>",
		"endpoints":                "s 10.0.0.1:80 5m",
		"endpointslices":           "s-1 IPv4 80 10.0.0.1 5m",
		"persistentvolumes":        "v 1Gi RWO Retain Pending   <unset>  5m Filesystem",
		"persistentvolumeclaims":   "c Pending     <unset> 5m Filesystem",
		"horizontalpodautoscalers": "h Deployment/d cpu: <unknown>/80% 1 3 0 5m",
		"storageclasses":           "s (default) example.com/x Delete Immediate false 5m",
		"ingresses":                "i <none> x.example  80 5m",
		"rolebindings":             "b Role/a:b 5m u  a/default",
		"events":                   "<unknown>  Started pod/p   hello <unknown> 1 e",
		"roles":                    "a:b 2026-01-02T03:04:05Z",
		"poddisruptionbudgets":     "b 50% N/A 0 5m",
	}
	for _, obj := range minimal(t) {
		k := rowOf(t, table, obj)
		created(k, obj)
		line, ok := want[k.Resource]
		if !ok {
			continue
		}
		delete(want, k.Resource)
		if got := strings.TrimSuffix(fmt.Sprintln(k.Cells(obj, testTime.Add(5*time.Minute))...), "\n"); got != line {
			t.Errorf("%s:\n%q, want\n%q", k.Resource, got, line)
		}
	}
	for name := range want {
		t.Errorf("%s not seen", name)
	}
}

func TestQOSClass(t *testing.T) {
	for _, tc := range []struct {
		spec string
		want corev1.PodQOSClass
	}{
		{`{containers: [{name: c, image: i}]}`, corev1.PodQOSBestEffort},
		{`{containers: [{name: c, image: i, resources: {requests: {cpu: 0}}}]}`, corev1.PodQOSBestEffort},
		{`{containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}]}`, corev1.PodQOSBurstable},
		{`{containers: [{name: c, image: i, resources: {limits: {cpu: 1, memory: 1Mi}}}]}`, corev1.PodQOSGuaranteed},
		{`{containers: [{name: c, image: i, resources: {limits: {cpu: 1, memory: 1Mi}}}, {name: d, image: i}]}`, corev1.PodQOSBurstable},
		{`{containers: [{name: c, image: i, resources: {limits: {cpu: 1, memory: 1Mi}, requests: {cpu: 500m}}}]}`, corev1.PodQOSBurstable},
		{`{resources: {limits: {cpu: 1, memory: 1Mi}}, containers: [{name: c, image: i}]}`, corev1.PodQOSGuaranteed},
	} {
		_, obj := parse(t, Builtin(), pod(tc.spec))
		p, ok := obj.(*corev1.Pod)
		if !ok {
			t.Fatalf("%T", obj)
		}
		defaultPod(p)
		if got := QOSClass(p); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.spec, got, tc.want)
		}
	}
}

// TestVersionsRoundTrip takes objects from another version to the hub and back.
func TestVersionsRoundTrip(t *testing.T) {
	table := Builtin()
	for _, text := range []string{
		`{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: h, namespace: a, annotations: {
			autoscaling.alpha.kubernetes.io/metrics: '[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"5"}}]',
			autoscaling.alpha.kubernetes.io/behavior: '{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":5,"SelectPolicy":"Min","Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":60}],"Tolerance":null}}'}},
			spec: {scaleTargetRef: {kind: Deployment, name: d}, minReplicas: 1, maxReplicas: 3, targetCPUUtilizationPercentage: 60}}`,
		`{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: e, namespace: a}, eventTime: "2026-01-02T03:04:05.123456Z", reportingController: x.io/y,
			reportingInstance: y-1, action: Do, reason: R, note: N, type: Normal, regarding: {kind: Pod, name: p, namespace: a},
			series: {count: 2, lastObservedTime: "2026-01-02T03:05:05.654321Z"}}`,
	} {
		k, obj := parse(t, table, strings.ReplaceAll(text, "\t", " "))
		_, v := table.Kind(obj.GetObjectKind().GroupVersionKind())
		before := copyOf(t, obj)
		hub, err := v.ToHub(obj)
		if err != nil {
			t.Fatal(err)
		}
		if hub.GetObjectKind().GroupVersionKind() != k.GroupVersionKind() {
			t.Errorf("the hub is a %s", hub.GetObjectKind().GroupVersionKind())
		}
		kept := copyOf(t, hub)
		back, err := v.FromHub(hub)
		if err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(back, before) || !apiequality.Semantic.DeepEqual(obj, before) || !apiequality.Semantic.DeepEqual(hub, kept) {
			t.Errorf("went\n%v\ncame\n%v", before, back)
		}
	}
}

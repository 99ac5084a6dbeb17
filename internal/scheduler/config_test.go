package scheduler

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	v1 "k8s.io/kube-scheduler/config/v1"
	"sigs.k8s.io/yaml"

	"hyperkube/internal/scheduler/placement"
)

// parse reads a configuration and gives its default profile.
func parse(t *testing.T, text string) (*placement.Profile, error) {
	t.Helper()
	var k v1.KubeSchedulerConfiguration
	if err := yaml.UnmarshalStrict([]byte(text), &k); err != nil {
		return nil, err
	}
	ps, err := (&Config{KubeSchedulerConfiguration: k}).profiles()
	return ps["default-scheduler"], err
}

func TestProfiles(t *testing.T) {
	p, err := parse(t, `
profiles:
- plugins:
    multiPoint:
      disabled: [{name: ImageLocality}]
    score:
      disabled: [{name: NodeAffinity}]
      enabled: [{name: TaintToleration, weight: 7}]
    filter:
      disabled: [{name: "*"}]
      enabled: [{name: NodeResourcesFit}]
  pluginConfig:
  - name: NodeResourcesFit
    args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: NodeResourcesFitArgs, scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 9}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Filters.Names(), ","); got != "NodeResourcesFit" {
		t.Errorf("filters %s", got)
	}
	for plugin, want := range map[placement.Plugin]int64{
		placement.ImageLocality: 0, placement.NodeAffinity: 0, placement.TaintToleration: 7, placement.PodTopologySpread: 2,
	} {
		if p.Weights[plugin] != want {
			t.Errorf("%s weighs %d, want %d", plugin, p.Weights[plugin], want)
		}
	}
	if p.Fit.Strategy != placement.MostAllocated || p.Fit.Resources[0].Weight != 3 || p.HardAffinityWeight != 9 {
		t.Errorf("arguments not taken: %+v", p)
	}
}

func TestBadProfiles(t *testing.T) {
	for text, want := range map[string]string{
		"profile: []": "profile",
		"extenders: [{urlPrefix: http://x, httpTimeout: 1s, enableHTTPS: false, nodeCacheCapable: false}]": "extenders",
		"podInitialBackoffSeconds: 20":                                                              "podMaxBackoffSeconds",
		"percentageOfNodesToScore: 101":                                                             "percentageOfNodesToScore",
		"profiles: [{schedulerName: a}, {schedulerName: a}]":                                        "twice",
		"profiles: [{plugins: {filter: {enabled: [{name: Nope}]}}}]":                                `there is no plugin "Nope"`,
		"profiles: [{plugins: {filter: {enabled: [{name: VolumeBinding}]}}}]":                       "not supported",
		"profiles: [{plugins: {score: {enabled: [{name: NodePorts}]}}}]":                            "has no part",
		"profiles: [{plugins: {bind: {disabled: [{name: DefaultBinder}]}}}]":                        "DefaultBinder",
		"profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStragety: {}}}]}]":       "scoringStragety",
		"profiles: [{pluginConfig: [{name: NodeName, args: {}}]}]":                                  "takes none",
		"profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultingType: Other}}]}]":    "defaultingType",
		"profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: -1}}]}]": "hardPodAffinityWeight",
	} {
		if _, err := parse(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := New(nil, Config{KubeSchedulerConfiguration: v1.KubeSchedulerConfiguration{Extenders: []v1.Extender{{}}}}); err == nil {
		t.Error("New took a bad configuration")
	}
}

func queued(name string, priority int32) *item {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: corev1.PodSpec{Priority: &priority}}
	return &item{pod: p, ready: placement.NewPod(p)}
}

func TestQueue(t *testing.T) {
	now := time.Unix(1000, 0)
	q := newQueue(time.Second, 10*time.Second, func(place, string) {})
	q.put(queued("low", 1), active, now, "")
	q.put(queued("late", 5), active, now.Add(time.Second), "")
	q.put(queued("high", 5), active, now, "")
	var order []string
	for it := q.pop(now); it != nil; it = q.pop(now) {
		order = append(order, it.pod.Name)
	}
	if got := strings.Join(order, " "); got != "high late low" {
		t.Errorf("order: %s", got)
	}

	it := q.all["low"]
	var waits []time.Duration
	for range 6 {
		q.attempted(it, now)
		waits = append(waits, it.until.Sub(now))
		it.attempts++
	}
	if waits[0] != time.Second || waits[1] != 2*time.Second || waits[5] != 10*time.Second {
		t.Errorf("back-offs: %v", waits)
	}

	it.failed = true
	q.retry(it, now, "")
	if got := q.pop(now); got != nil || q.due() != it.until {
		t.Errorf("an error's back-off is cut short: %v", got)
	}
	if got := q.pop(it.until); got != it {
		t.Errorf("a back-off does not end: %v", got)
	}
	other := q.all["high"]
	q.attempted(other, now)
	q.retry(other, now, "")
	if got := q.pop(now); got != other {
		t.Error("with nothing else to do a back-off is not cut short")
	}
	q.put(other, waiting, now, "")
	q.flush(now.Add(waitLimit))
	if other.where != waiting {
		t.Error("flushed too early")
	}
	q.flush(now.Add(waitLimit + time.Second))
	if other.where != active {
		t.Error("not flushed after five minutes")
	}
	q.remove("high")
	if len(q.all) != 2 || q.active.Len() != 0 {
		t.Error("not removed")
	}
}

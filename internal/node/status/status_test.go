package status

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
)

func container(name string, state rt.ContainerState, code int32) *cri.Container {
	return &cri.Container{Name: name, SandboxID: "sb", ContainerStatus: &rt.ContainerStatus{
		Id: name, State: state, ExitCode: code, StartedAt: 1e9, FinishedAt: 2e9, Image: &rt.ImageSpec{Image: "i"}, Reason: "Error"}}
}

const (
	runs = rt.ContainerState_CONTAINER_RUNNING
	ends = rt.ContainerState_CONTAINER_EXITED
)

func generate(pod *corev1.Pod, change func(*Input), cs ...*cri.Container) *corev1.PodStatus {
	seen := &cri.Pod{Containers: cs}
	if cs != nil {
		seen.Sandboxes = []*rt.PodSandboxStatus{{Id: "sb", Network: &rt.PodSandboxNetworkStatus{Ip: "10.0.0.7"}}}
	}
	yes := func(string) bool { return true }
	in := Input{Pod: pod, Seen: seen, Now: time.Unix(100, 0), HostIPs: []string{"192.0.2.1"}, RuntimeName: "containerd",
		Started: yes, Ready: yes, Message: func(*cri.Container) string { return "" }}
	if change != nil {
		change(&in)
	}
	return Generate(in)
}

func newPod(policy corev1.RestartPolicy, init []string, names ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 2}, Spec: corev1.PodSpec{RestartPolicy: policy}}
	for _, n := range init {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: n})
	}
	for _, n := range names {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: n})
	}
	return p
}

func cond(s *corev1.PodStatus, t corev1.PodConditionType) string {
	c := condition(s, t)
	if c == nil {
		return "none"
	}
	return strings.TrimRight(string(c.Status)+" "+c.Reason+" "+c.Message, " ")
}

func TestPhases(t *testing.T) {
	const always, never = corev1.RestartPolicyAlways, corev1.RestartPolicyNever
	for _, tc := range []struct {
		name  string
		pod   *corev1.Pod
		cs    []*cri.Container
		phase corev1.PodPhase
		ready string
	}{
		{"new", newPod(always, nil, "a"), nil, corev1.PodPending, "False ContainersNotReady containers with unready status: [a]"},
		{"runs", newPod(always, nil, "a"), []*cri.Container{container("a", runs, 0)}, corev1.PodRunning, "True"},
		{"one of two", newPod(always, nil, "a", "b"), []*cri.Container{container("a", runs, 0)}, corev1.PodPending, "False ContainersNotReady containers with unready status: [b]"},
		{"ended, restarts", newPod(always, nil, "a"), []*cri.Container{container("a", ends, 1)}, corev1.PodRunning, "False ContainersNotReady containers with unready status: [a]"},
		{"succeeded", newPod(never, nil, "a"), []*cri.Container{container("a", ends, 0)}, corev1.PodSucceeded, "False PodCompleted"},
		{"failed", newPod(never, nil, "a", "b"), []*cri.Container{container("a", ends, 0), container("b", ends, 3)}, corev1.PodFailed, "False PodFailed"},
		{"still running", newPod(never, nil, "a", "b"), []*cri.Container{container("a", ends, 3), container("b", runs, 0)}, corev1.PodRunning, "False ContainersNotReady containers with unready status: [a]"},
		{"init runs", newPod(always, []string{"i"}, "a"), []*cri.Container{container("i", runs, 0)}, corev1.PodPending, "False ContainersNotReady containers with unready status: [a]"},
		{"init failed for good", newPod(never, []string{"i"}, "a"), []*cri.Container{container("i", ends, 1)}, corev1.PodFailed, "False PodFailed"},
	} {
		s := generate(tc.pod, nil, tc.cs...)
		if s.Phase != tc.phase || cond(s, corev1.PodReady) != tc.ready {
			t.Errorf("%s: %s, %q", tc.name, s.Phase, cond(s, corev1.PodReady))
		}
		if s.ObservedGeneration != 2 || s.HostIP != "192.0.2.1" || tc.cs != nil && s.PodIP != "10.0.0.7" {
			t.Errorf("%s: generation %d, host %s, pod %s", tc.name, s.ObservedGeneration, s.HostIP, s.PodIP)
		}
	}
}

func TestInitContainers(t *testing.T) {
	pod := newPod(corev1.RestartPolicyAlways, []string{"init1", "init2"}, "run1")
	s := generate(pod, nil, container("init1", runs, 0))
	if got := cond(s, corev1.PodInitialized); got != "False ContainersNotInitialized containers with incomplete status: [init1 init2]" {
		t.Error(got)
	}
	s = generate(pod, nil, container("init1", ends, 0))
	if got := cond(s, corev1.PodInitialized); got != "False ContainersNotInitialized containers with incomplete status: [init2]" {
		t.Error(got)
	}
	for _, st := range []corev1.ContainerStatus{s.InitContainerStatuses[1], s.ContainerStatuses[0]} {
		if st.State.Waiting == nil || st.State.Waiting.Reason != "PodInitializing" {
			t.Errorf("%s: %v", st.Name, st.State)
		}
	}
}

func TestCrashLoop(t *testing.T) {
	pod := newPod(corev1.RestartPolicyAlways, nil, "a")
	s := generate(pod, func(in *Input) {
		in.Waiting = map[string]corev1.ContainerStateWaiting{"a": {Reason: "CrashLoopBackOff"}}
	}, container("a", ends, 9))
	c := s.ContainerStatuses[0]
	if c.State.Waiting == nil || c.State.Waiting.Reason != "CrashLoopBackOff" || c.LastTerminationState.Terminated == nil || c.LastTerminationState.Terminated.ExitCode != 9 {
		t.Errorf("%+v", c)
	}
	if s.Phase != corev1.PodRunning {
		t.Error(s.Phase)
	}
}

func TestOver(t *testing.T) {
	pod := newPod(corev1.RestartPolicyAlways, nil, "a", "b")
	old := generate(pod, nil, container("a", runs, 0), container("b", runs, 0))
	s := generate(pod, func(in *Input) { in.Old, in.Over = old, true }, container("a", ends, 143))
	if a := s.ContainerStatuses[0].State.Terminated; a == nil || a.ExitCode != 143 {
		t.Errorf("a: %+v", s.ContainerStatuses[0].State)
	}
	if b := s.ContainerStatuses[1].State.Terminated; b == nil || b.Reason != "ContainerStatusUnknown" || b.ExitCode != 137 {
		t.Errorf("b: %+v", s.ContainerStatuses[1].State)
	}
}

func TestReadinessGates(t *testing.T) {
	pod := newPod(corev1.RestartPolicyAlways, nil, "a")
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x/y"}}
	s := generate(pod, nil, container("a", runs, 0))
	if got := cond(s, corev1.PodReady); got != `False ReadinessGatesNotReady corresponding condition of pod readiness gate "x/y" does not exist.` {
		t.Error(got)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "x/y", Status: corev1.ConditionTrue}}
	if s = generate(pod, nil, container("a", runs, 0)); cond(s, corev1.PodReady) != "True" {
		t.Error(cond(s, corev1.PodReady))
	}
}

func TestPatchKeepsConditionsOfOthers(t *testing.T) {
	pod := newPod(corev1.RestartPolicyAlways, nil, "a")
	pod.UID = "u"
	pod.Status.Conditions = []corev1.PodCondition{{Type: "other", Status: corev1.ConditionTrue}}
	want := generate(pod, func(in *Input) { in.Old = &corev1.PodStatus{} }, container("a", runs, 0))
	data, err := patch(pod, want)
	if err != nil || strings.Contains(string(data), "$patch") || !strings.Contains(string(data), `"uid":"u"`) {
		t.Errorf("%s, %v", data, err)
	}
	if !differs(&pod.Status, want) || differs(want, want) {
		t.Error("differs is wrong")
	}
}

func TestResizeConditionsComeAndGo(t *testing.T) {
	server := &corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: "example.com/gate", Status: corev1.ConditionTrue}, {Type: corev1.PodResizePending, Status: corev1.ConditionTrue},
	}}
	want := &corev1.PodStatus{}
	if !differs(server, want) {
		t.Fatal("a resize that is over makes no difference")
	}
	data, err := patch(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Status: *server}, want)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(data); !strings.Contains(s, `"$patch":"delete","type":"PodResizePending"`) || strings.Contains(s, `"delete","type":"example.com/gate"`) {
		t.Errorf("the patch is %s", s)
	}
}

package plan

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
)

// The tests write a pod as words: "i:name" an init container, "s:name" a sidecar, "c:name" a container, "e:name" an
// ephemeral one; and what the runtime has as "name=running", "name=exited:3", "name=created"; "-" behind it: in an older sandbox.
func makePod(policy corev1.RestartPolicy, words string) *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"}, Spec: corev1.PodSpec{RestartPolicy: policy}}
	for _, w := range strings.Fields(words) {
		kind, name, _ := strings.Cut(w, ":")
		c := corev1.Container{Name: name, Image: "img"}
		switch kind {
		case "s":
			c.RestartPolicy = &always
			fallthrough
		case "i":
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		case "c":
			p.Spec.Containers = append(p.Spec.Containers, c)
		case "e":
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)})
		}
	}
	return p
}

func makeSeen(pod *corev1.Pod, words string) *cri.Pod {
	seen := &cri.Pod{UID: "u"}
	for _, w := range strings.Fields(words) {
		name, state, _ := strings.Cut(w, "=")
		if name == "sandbox" {
			s := &rt.PodSandboxStatus{Id: "sb", Metadata: &rt.PodSandboxMetadata{Attempt: 3}, Network: &rt.PodSandboxNetworkStatus{Ip: "10.0.0.1"}}
			if state == "dead" {
				s.State = rt.PodSandboxState_SANDBOX_NOTREADY
			}
			seen.Sandboxes = append(seen.Sandboxes, s)
			continue
		}
		box := "sb"
		if strings.HasSuffix(state, "-") {
			box, state = "old", strings.TrimSuffix(state, "-")
		}
		st := &rt.ContainerStatus{Id: name, FinishedAt: time.Unix(1000, 0).UnixNano()}
		hash := cri.Hash(&corev1.Container{Name: name, Image: "img"})
		switch {
		case state == "changed":
			hash = "other"
			fallthrough
		case state == "running":
			st.State = rt.ContainerState_CONTAINER_RUNNING
		case state == "created":
			st.State = rt.ContainerState_CONTAINER_CREATED
		default:
			st.State = rt.ContainerState_CONTAINER_EXITED
			fmt.Sscanf(state, "exited:%d", &st.ExitCode)
		}
		st.Annotations = map[string]string{"io.kubernetes.container.hash": hash}
		seen.Containers = append(seen.Containers, &cri.Container{ContainerStatus: st, Name: name, SandboxID: box})
	}
	return seen
}

func render(p *Plan) string {
	var out []string
	if p.Finished {
		out = append(out, "finished")
	}
	if p.Reset {
		out = append(out, "reset")
	}
	if p.CreateSandbox {
		out = append(out, fmt.Sprintf("sandbox#%d", p.Attempt))
	}
	for _, k := range p.Kill {
		out = append(out, "kill "+k.Container.Name)
	}
	for _, c := range p.Start {
		out = append(out, "start "+c.Name)
	}
	var waiting []string
	for n := range p.Waiting {
		waiting = append(waiting, "wait "+n)
	}
	sort.Strings(waiting)
	return strings.Join(append(out, waiting...), ", ")
}

func TestMake(t *testing.T) {
	const always, onFailure, never = corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever
	for _, tc := range []struct {
		name   string
		policy corev1.RestartPolicy
		pod    string
		seen   string
		flags  string // "failed:x", "unstarted:x", "backoff:x"
		want   string
	}{
		{"new", always, "c:a", "", "", "sandbox#0"},
		{"sandbox ready", always, "c:a c:b", "sandbox=ready", "", "start a, start b"},
		{"all runs", always, "c:a c:b", "sandbox=ready a=running b=running", "", ""},
		{"one ended", always, "c:a c:b", "sandbox=ready a=exited:0 b=running", "", "start a"},
		{"one ended, waits", always, "c:a", "sandbox=ready a=exited:1", "backoff:a", "wait a"},
		{"job done", onFailure, "c:a", "sandbox=ready a=exited:0", "", "finished"},
		{"job failed, again", onFailure, "c:a", "sandbox=ready a=exited:2", "", "start a"},
		{"never again", never, "c:a c:b", "sandbox=ready a=exited:2 b=exited:0", "", "finished"},
		{"one of two done", never, "c:a c:b", "sandbox=ready a=exited:2 b=running", "", ""},
		{"sandbox died", always, "c:a", "sandbox=dead a=exited:137", "", "sandbox#4"},
		{"sandbox died, container still there", always, "c:a", "sandbox=dead a=running", "", "reset, sandbox#4"},
		{"sandbox died, never", never, "c:a", "sandbox=dead a=exited:137", "", "finished"},
		{"after a new sandbox", onFailure, "c:a c:b", "sandbox=ready a=exited:0- b=exited:137-", "", "start b"},
		{"first init", always, "i:x i:y c:a", "sandbox=ready", "", "start x"},
		{"init runs", always, "i:x i:y c:a", "sandbox=ready x=running", "", ""},
		{"second init", always, "i:x i:y c:a", "sandbox=ready x=exited:0", "", "start y"},
		{"init done", always, "i:x i:y c:a", "sandbox=ready x=exited:0 y=exited:0", "", "start a"},
		{"init failed, again", always, "i:x c:a", "sandbox=ready x=exited:1", "", "start x"},
		{"init failed, waits", always, "i:x c:a", "sandbox=ready x=exited:1", "backoff:x", "wait x"},
		{"init failed for good", never, "i:x c:a", "sandbox=ready x=exited:1", "", "finished"},
		{"init again in a new sandbox", always, "i:x c:a", "sandbox=ready x=exited:0- a=exited:137-", "", "start x"},
		{"sidecar first", always, "s:x i:y c:a", "sandbox=ready", "", "start x"},
		{"sidecar not started", always, "s:x i:y c:a", "sandbox=ready x=running", "unstarted:x", ""},
		{"sidecar started", always, "s:x i:y c:a", "sandbox=ready x=running", "", "start y"},
		{"sidecar died during init", always, "s:x i:y c:a", "sandbox=ready x=exited:0 y=running", "", "start x"},
		{"sidecar died while running", never, "s:x c:a", "sandbox=ready x=exited:1 a=running", "", "start x"},
		{"sidecar outlives", never, "s:x c:a", "sandbox=ready x=running a=exited:0", "", "finished"},
		{"liveness failed", always, "c:a", "sandbox=ready a=running", "failed:a", "kill a"},
		{"image changed", always, "c:a", "sandbox=ready a=changed", "", "kill a, start a"},
		{"created only", always, "c:a", "sandbox=ready a=created", "", "kill a, start a"},
		{"ephemeral", always, "c:a e:d", "sandbox=ready a=running", "", "start d"},
		{"ephemeral ended", always, "c:a e:d", "sandbox=ready a=running d=exited:1", "", ""},
		{"stray", always, "c:a", "sandbox=ready a=running z=running", "", "kill z"},
	} {
		pod := makePod(tc.policy, tc.pod)
		has := func(f string) bool { return strings.Contains(" "+tc.flags+" ", " "+f+" ") }
		got := render(Make(Input{
			Pod: pod, Seen: makeSeen(pod, tc.seen), Now: time.Unix(1000, 0),
			Started: func(id string) bool { return !has("unstarted:" + id) },
			Failed: func(id string) string {
				if has("failed:" + id) {
					return "liveness probe"
				}
				return ""
			},
			Backoff: func(c *cri.Container) time.Time {
				if has("backoff:" + c.Name) {
					return time.Unix(1010, 0)
				}
				return time.Time{}
			},
		}))
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRestartRules(t *testing.T) {
	never := corev1.ContainerRestartPolicyNever
	c := &corev1.Container{RestartPolicy: &never, RestartPolicyRules: []corev1.ContainerRestartRule{{
		Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: "In", Values: []int32{42}}}}}
	pod := makePod(corev1.RestartPolicyAlways, "c:a")
	if !Restarts(pod, c, 42, false) || Restarts(pod, c, 1, false) {
		t.Error("the rule for 42 is not followed")
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	at := time.Unix(10000, 0)
	if !b.Until("c", at).IsZero() {
		t.Error("the first restart waits")
	}
	for _, want := range []int{10, 20, 40, 80, 160, 300, 300} {
		b.Started("c", at)
		at = at.Add(time.Second)
		if got := b.Until("c", at).Sub(at); got != time.Duration(want)*time.Second {
			t.Errorf("delay %v, want %ds", got, want)
		}
	}
	at = at.Add(11 * time.Minute)
	if !b.Until("c", at).IsZero() {
		t.Error("a container that ran for 11 minutes waits")
	}
	b.Started("c", at)
	if b.Delay("c") != 10*time.Second {
		t.Error("the delay did not start over")
	}
}

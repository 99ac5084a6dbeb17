package object

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func podColumns() []metav1.TableColumnDefinition {
	spec, status := doc(corev1.PodSpec{}.SwaggerDoc()), doc(corev1.PodStatus{}.SwaggerDoc())
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
		column("Status", "string", "The aggregate status of the containers in this pod."),
		column("Restarts", "string", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		ageColumn(),
		wide("IP", "string", status["podIP"]),
		wide("Node", "string", spec["nodeName"]),
		wide("Nominated Node", "string", status["nominatedNodeName"]),
		wide("Readiness Gates", "string", spec["readinessGates"]),
	}
}

func podCells(p *corev1.Pod, now time.Time) []any {
	s := summarize(p)
	restarts := strconv.Itoa(s.restarts)
	if s.restarts != 0 && !s.lastRestart.IsZero() {
		restarts = fmt.Sprintf("%d (%s ago)", s.restarts, duration.HumanDuration(now.Sub(s.lastRestart.Time)))
	}
	ip := none
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	gates := none
	if n := len(p.Spec.ReadinessGates); n > 0 {
		met := 0
		for _, g := range p.Spec.ReadinessGates {
			if podConditionTrue(p, g.ConditionType) {
				met++
			}
		}
		gates = fmt.Sprintf("%d/%d", met, n)
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", s.ready, s.total), s.text, restarts, age(p, now),
		ip, orNone(p.Spec.NodeName), orNone(p.Status.NominatedNodeName), gates,
	}
}

// podRowConditions tells of pods that have ended, which lists may leave out.
func podRowConditions(obj Object) []metav1.TableRowCondition {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	c := metav1.TableRowCondition{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(p.Status.Phase)}
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		c.Message = "The pod has completed successfully."
	case corev1.PodFailed:
		c.Message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{c}
}

// podSummary is what one line says of a pod.
type podSummary struct {
	text         string
	ready, total int
	restarts     int
	lastRestart  metav1.Time
}

// PodStatusText is the one word that tells users the state of a pod: its phase, or the reason why a
// container waits or ended ("CrashLoopBackOff", "Init:0/1", "Completed", "Terminating").
func PodStatusText(p *corev1.Pod) string { return summarize(p).text }

func summarize(p *corev1.Pod) podSummary {
	s := podSummary{text: string(p.Status.Phase), total: len(p.Spec.Containers)}
	if p.Status.Reason != "" {
		s.text = p.Status.Reason
	}
	if c := PodCondition(p, corev1.PodScheduled); c != nil && c.Reason == corev1.PodReasonSchedulingGated {
		s.text = corev1.PodReasonSchedulingGated
	}
	sidecars := map[string]bool{}
	for i := range p.Spec.InitContainers {
		if Sidecar(&p.Spec.InitContainers[i]) {
			sidecars[p.Spec.InitContainers[i].Name] = true
			s.total++
		}
	}

	initializing := s.addInit(p, sidecars)
	if !initializing || podConditionTrue(p, corev1.PodInitialized) {
		s.addMain(p, sidecars)
	}

	if p.DeletionTimestamp != nil {
		switch {
		case p.Status.Reason == "NodeLost":
			s.text = "Unknown"
		case !PodTerminal(p):
			s.text = "Terminating"
		}
	}
	return s
}

// addInit reads the init containers up to the first that is not done, and says whether there is one.
func (s *podSummary) addInit(p *corev1.Pod, sidecars map[string]bool) bool {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		s.addRestarts(c)
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case c.State.Terminated != nil:
			s.text = "Init:" + ending(c.State.Terminated)
		case c.State.Waiting != nil && c.State.Waiting.Reason != "" && c.State.Waiting.Reason != "PodInitializing":
			s.text = "Init:" + c.State.Waiting.Reason
		default:
			s.text = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return true
	}
	return false
}

// addMain reads the containers proper; of the init containers only the restarts of sidecars count then.
func (s *podSummary) addMain(p *corev1.Pod, sidecars map[string]bool) {
	s.restarts, s.lastRestart = 0, metav1.Time{}
	for i := range p.Status.InitContainerStatuses {
		if c := &p.Status.InitContainerStatuses[i]; sidecars[c.Name] {
			s.addRestarts(c)
		}
	}
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		s.addRestarts(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.text = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.text = ending(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.text == "Completed" && running {
		s.text = "NotReady"
		if PodReady(p) {
			s.text = "Running"
		}
	}
}

func (s *podSummary) addRestarts(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && s.lastRestart.Before(&t.FinishedAt) {
		s.lastRestart = t.FinishedAt
	}
}

func ending(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

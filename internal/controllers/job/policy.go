package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// judge applies a job's rules to a pod that has failed. The first rule that matches decides; without one a failure counts. message
// says, for FailJob, what matched.
func judge(p *batchv1.PodFailurePolicy, perIndex bool, pod *corev1.Pod) (action batchv1.PodFailurePolicyAction, message string) {
	if p == nil {
		return batchv1.PodFailurePolicyActionCount, ""
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && !perIndex {
			continue
		}
		what, ok := matches(r, pod)
		if !ok {
			continue
		}
		switch r.Action {
		case batchv1.PodFailurePolicyActionFailJob:
			return r.Action, fmt.Sprintf("%s matching %v rule at index %d", what, r.Action, i)
		case batchv1.PodFailurePolicyActionIgnore, batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionCount:
			return r.Action, ""
		}
	}
	return batchv1.PodFailurePolicyActionCount, ""
}

func matches(r *batchv1.PodFailurePolicyRule, pod *corev1.Pod) (what string, ok bool) {
	if e := r.OnExitCodes; e != nil {
		for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
			for _, s := range list {
				if t := s.State.Terminated; t != nil && matchesCode(e, s.Name, t.ExitCode) {
					return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v", s.Name, pod.Namespace, pod.Name, t.ExitCode), true
				}
			}
		}
		return "", false
	}
	for _, want := range r.OnPodConditions {
		for _, c := range pod.Status.Conditions {
			if c.Type == want.Type && c.Status == want.Status {
				return fmt.Sprintf("Pod %s/%s has condition %v", pod.Namespace, pod.Name, c.Type), true
			}
		}
	}
	return "", false
}

// matchesCode: containers that succeeded match nothing.
func matchesCode(e *batchv1.PodFailurePolicyOnExitCodesRequirement, container string, code int32) bool {
	if code == 0 || (e.ContainerName != nil && *e.ContainerName != container) {
		return false
	}
	switch e.Operator {
	case batchv1.PodFailurePolicyOnExitCodesOpIn:
		return slices.Contains(e.Values, code)
	case batchv1.PodFailurePolicyOnExitCodesOpNotIn:
		return !slices.Contains(e.Values, code)
	}
	return false
}

// succeededBy finds the first rule of a success policy that the completed indexes fulfil.
func succeededBy(p *batchv1.SuccessPolicy, completed indexes, completions int) (message string, ok bool) {
	if p == nil || len(completed) == 0 {
		return "", false
	}
	for i, r := range p.Rules {
		of := indexes{{0, completions - 1}}
		if r.SucceededIndexes != nil {
			var err error
			if of, err = parseIndexes(*r.SucceededIndexes, completions); err != nil {
				continue // validation refuses such a list
			}
		}
		need := of.count()
		if r.SucceededCount != nil {
			need = int(*r.SucceededCount)
		}
		if completed.common(of) >= need {
			return fmt.Sprintf("Matched rules at index %d", i), true
		}
	}
	return "", false
}

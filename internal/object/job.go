package object

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/duration"

	"hyperkube/internal/object/podspec"
)

func jobKind() *Kind {
	d := doc(batchv1.JobStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[batchv1.Job, batchv1.JobList](batchv1.SchemeGroupVersion, "Job")},
		Resource:      "jobs",
		Singular:      "job",
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "jobs",
		Strategy: rules[*batchv1.Job]{
			Default: defaultJob,
			PrepareCreate: func(j *batchv1.Job) {
				j.Status = batchv1.JobStatus{}
				firstGeneration(j)
				generateJobSelector(j)
				labelsFromTemplate(j)
			},
			PrepareUpdate: func(j, old *batchv1.Job) {
				j.Status = *old.Status.DeepCopy()
				nextGeneration(j, old, j.Spec, old.Spec)
				labelsFromTemplate(j)
			},
			Validate:       validateJob,
			ValidateCreate: validateGeneratedSelector,
			ValidateUpdate: validateJobUpdate,
			Warnings: func(j, old *batchv1.Job) []string {
				return templateWarnings(j, old, &j.Spec.Template, specPath.Child("template"))
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*batchv1.Job]{
			PrepareUpdate: func(j, old *batchv1.Job) {
				j.Spec = *old.Spec.DeepCopy()
				labelsFromTemplate(j)
			},
			ValidateUpdate: validateJobStatus,
		})},
		FieldNames: []string{"status.successful"},
		Fields: selectableFields(func(j *batchv1.Job) fields.Set {
			return fields.Set{"status.successful": strconv.Itoa(int(j.Status.Succeeded))}
		}),
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Status", "string", "Status of the job."),
			column("Completions", "string", d["succeeded"]),
			column("Duration", "string", "Time required to complete the job."),
			ageColumn(),
		}, workloadColumns(doc(batchv1.JobSpec{}.SwaggerDoc())["selector"])...),
		Cells: cells(jobCells),
	}
}

func defaultJob(j *batchv1.Job) {
	s := &j.Spec
	s.Scheduling = nil // of a feature that is off
	podspec.DefaultTemplate(&s.Template.Spec)
	setDefaultPtr(&s.ManualSelector, false)
	// Without both, the job runs one pod once; with parallelism alone it is a work queue.
	if s.Completions == nil && s.Parallelism == nil {
		setDefaultPtr(&s.Completions, 1)
	}
	setDefaultPtr(&s.Parallelism, 1)
	limit := int32(6)
	if s.BackoffLimitPerIndex != nil {
		limit = math.MaxInt32
	}
	setDefaultPtr(&s.BackoffLimit, limit)
	setDefaultPtr(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setDefaultPtr(&s.Suspend, false)
	replacement := batchv1.TerminatingOrFailed
	if s.PodFailurePolicy != nil {
		replacement = batchv1.Failed
	}
	setDefaultPtr(&s.PodReplacementPolicy, replacement)
	if p := s.PodFailurePolicy; p != nil {
		for i := range p.Rules {
			for k := range p.Rules[i].OnPodConditions {
				setDefault(&p.Rules[i].OnPodConditions[k].Status, corev1.ConditionTrue)
			}
		}
	}
	labelsFromTemplate(j)
}

// labelsFromTemplate: a job without labels has those of its pods.
func labelsFromTemplate(j *batchv1.Job) {
	if len(j.Labels) == 0 && len(j.Spec.Template.Labels) > 0 {
		j.Labels = maps.Clone(j.Spec.Template.Labels)
	}
}

// The labels of a job's pods before they got their prefix; both are kept.
const (
	legacyJobNameLabel       = "job-name"
	legacyControllerUIDLabel = "controller-uid"
)

// generateJobSelector makes a selector of the job's uid, so that jobs never count each other's pods. Labels
// that the user set stay, and validation tells when they say something else.
func generateJobSelector(j *batchv1.Job) {
	if deref(j.Spec.ManualSelector, false) {
		return
	}
	t := &j.Spec.Template
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	for key, value := range map[string]string{
		batchv1.JobNameLabel: j.Name, legacyJobNameLabel: j.Name,
		batchv1.ControllerUidLabel: string(j.UID), legacyControllerUIDLabel: string(j.UID),
	} {
		if _, set := t.Labels[key]; !set {
			t.Labels[key] = value
		}
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

func jobCells(j *batchv1.Job, now time.Time) []any {
	completions := fmt.Sprintf("%d/1", j.Status.Succeeded)
	switch {
	case j.Spec.Completions != nil:
		completions = fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case deref(j.Spec.Parallelism, 0) > 1:
		completions = fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, *j.Spec.Parallelism)
	}
	took := ""
	if start := j.Status.StartTime; start != nil {
		end := now
		if j.Status.CompletionTime != nil {
			end = j.Status.CompletionTime.Time
		}
		took = duration.HumanDuration(end.Sub(start.Time))
	}
	return append([]any{j.Name, jobStatusText(j), completions, took, age(j, now)}, templateText(&j.Spec.Template, j.Spec.Selector)...)
}

func jobStatusText(j *batchv1.Job) string {
	is := func(t batchv1.JobConditionType) bool {
		for _, c := range j.Status.Conditions {
			if c.Type == t {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	}
	switch {
	case is(batchv1.JobComplete):
		return "Complete"
	case is(batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case is(batchv1.JobSuspended):
		return "Suspended"
	case is(batchv1.JobFailureTarget):
		return "FailureTarget"
	case is(batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

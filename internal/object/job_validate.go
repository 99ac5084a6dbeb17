package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func validateJob(j *batchv1.Job) field.ErrorList {
	errs := validateJobSpec(&j.Spec, specPath)
	at := specPath.Child("selector")
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(j.Spec.Selector, metavalidation.LabelSelectorValidationOptions{}, at)...)
	}
	errs = append(errs, selectsTemplate(j.Spec.Selector, &j.Spec.Template)...)
	if deref(j.Spec.CompletionMode, "") == batchv1.IndexedCompletion && deref(j.Spec.Completions, 0) > 0 {
		// The names of the pods end in the index, and have to be valid host names.
		longest := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1)
		if bad := validation.IsDNS1123Label(longest); len(bad) > 0 {
			errs = append(errs, field.Invalid(metadataPath.Child("name"), j.Name, "will not able to create pod with invalid DNS label: "+longest))
		}
	}
	return errs
}

// validateGeneratedSelector: only a new job is held to it, for later its selector does not change.
func validateGeneratedSelector(j *batchv1.Job) field.ErrorList {
	if deref(j.Spec.ManualSelector, false) {
		return nil
	}
	var errs field.ErrorList
	at := specPath.Child("template", "metadata", "labels")
	for _, l := range []struct{ key, want string }{
		{batchv1.ControllerUidLabel, string(j.UID)}, {legacyControllerUIDLabel, string(j.UID)},
		{batchv1.JobNameLabel, j.Name}, {legacyJobNameLabel, j.Name},
	} {
		key, want := l.key, l.want
		if got := j.Spec.Template.Labels[key]; got != want {
			errs = append(errs, field.Invalid(at, j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", want)))
		}
	}
	want := &metav1.LabelSelector{MatchLabels: map[string]string{batchv1.ControllerUidLabel: string(j.UID)}}
	legacy := &metav1.LabelSelector{MatchLabels: map[string]string{legacyControllerUIDLabel: string(j.UID)}}
	if s := j.Spec.Selector; s != nil && !apiequality.Semantic.DeepEqual(s, want) && !apiequality.Semantic.DeepEqual(s, legacy) {
		errs = append(errs, field.Invalid(specPath.Child("selector"), s, "`selector` not auto-generated"))
	}
	return errs
}

// validateJobSpec judges what jobs and the job templates of cron jobs have in common.
func validateJobSpec(s *batchv1.JobSpec, at *field.Path) field.ErrorList {
	errs := nonNegative(num(at.Child("parallelism"), s.Parallelism), num(at.Child("completions"), s.Completions),
		num(at.Child("activeDeadlineSeconds"), s.ActiveDeadlineSeconds), num(at.Child("backoffLimit"), s.BackoffLimit),
		num(at.Child("ttlSecondsAfterFinished"), s.TTLSecondsAfterFinished),
		num(at.Child("backoffLimitPerIndex"), s.BackoffLimitPerIndex), num(at.Child("maxFailedIndexes"), s.MaxFailedIndexes))
	errs = append(errs, validateCompletionMode(s, at)...)
	if m := s.ManagedBy; m != nil {
		errs = append(errs, validation.IsDomainPrefixedPath(at.Child("managedBy"), *m)...)
		if len(*m) > 63 {
			errs = append(errs, field.TooLong(at.Child("managedBy"), "", 63))
		}
	}
	if p := s.PodReplacementPolicy; p != nil {
		allowed := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
		if s.PodFailurePolicy != nil { // a failure can be judged only when it is complete
			allowed = allowed[:1]
		}
		errs = append(errs, oneOf(at.Child("podReplacementPolicy"), *p, allowed...)...)
	}
	if p := s.PodFailurePolicy; p != nil {
		errs = append(errs, validateFailurePolicy(p, s, at.Child("podFailurePolicy"))...)
	}
	if p := s.SuccessPolicy; p != nil {
		errs = append(errs, validateSuccessPolicy(p, s, at.Child("successPolicy"))...)
	}
	template := at.Child("template")
	errs = append(errs, podspec.ValidateTemplate(&s.Template, template)...)
	restart := template.Child("spec", "restartPolicy")
	switch r := s.Template.Spec.RestartPolicy; {
	case r == corev1.RestartPolicyAlways: // which is the default of all pods
		errs = append(errs, field.Required(restart, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	case r != corev1.RestartPolicyOnFailure && r != corev1.RestartPolicyNever:
		errs = append(errs, field.NotSupported(restart, r, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	case s.PodFailurePolicy != nil && r != corev1.RestartPolicyNever:
		errs = append(errs, field.Invalid(restart, r, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	return errs
}

const (
	maxParallelism = 100_000
	notIndexed     = "requires indexed completion mode"
)

func validateCompletionMode(s *batchv1.JobSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	mode := deref(s.CompletionMode, batchv1.NonIndexedCompletion)
	errs = append(errs, oneOf(at.Child("completionMode"), mode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)...)
	if mode == batchv1.IndexedCompletion {
		if s.Completions == nil {
			errs = append(errs, field.Required(at.Child("completions"), fmt.Sprintf("when completion mode is %s", mode)))
		}
		if p := deref(s.Parallelism, 0); p > maxParallelism {
			errs = append(errs, field.Invalid(at.Child("parallelism"), p,
				fmt.Sprintf("must be less than or equal to %d when completion mode is %s", maxParallelism, mode)))
		}
		// Of so many indexes only so many may be at work when each has failures of its own (KEP-3850).
		if p := deref(s.Parallelism, 0); s.BackoffLimitPerIndex != nil && deref(s.Completions, 0) > maxParallelism && p > maxParallelism/10 {
			errs = append(errs, field.Invalid(at.Child("parallelism"), p, fmt.Sprintf(
				"must be less than or equal to %d when completions are above %d and used with backoff limit per index", maxParallelism/10, maxParallelism)))
		}
	}
	if mode == batchv1.NonIndexedCompletion {
		if n := s.BackoffLimitPerIndex; n != nil {
			errs = append(errs, field.Invalid(at.Child("backoffLimitPerIndex"), *n, notIndexed))
		}
	}
	if m := s.MaxFailedIndexes; m != nil {
		if s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Required(at.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
		}
		if c := s.Completions; mode == batchv1.IndexedCompletion && c != nil && *m > *c {
			errs = append(errs, field.Invalid(at.Child("maxFailedIndexes"), *m, "must be less than or equal to completions"))
		}
		if mode == batchv1.NonIndexedCompletion {
			errs = append(errs, field.Invalid(at.Child("maxFailedIndexes"), *m, notIndexed))
		}
	}
	return errs
}

func validateFailurePolicy(p *batchv1.PodFailurePolicy, s *batchv1.JobSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	const maxRules, maxCodes, maxPatterns = 20, 255, 20
	if len(p.Rules) > maxRules {
		errs = append(errs, field.TooMany(at.Child("rules"), len(p.Rules), maxRules))
	}
	for i := range p.Rules {
		r, q := &p.Rules[i], at.Child("rules").Index(i)
		errs = append(errs, listedOneOf(q.Child("action"), r.Action, batchv1.PodFailurePolicyActionCount,
			batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)...)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(q.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set"))
		}
		if c := r.OnExitCodes; c != nil {
			errs = append(errs, validateExitCodes(c, s, q.Child("onExitCodes"), maxCodes)...)
		}
		if len(r.OnPodConditions) > maxPatterns {
			errs = append(errs, field.TooMany(q.Child("onPodConditions"), len(r.OnPodConditions), maxPatterns))
		}
		for k, c := range r.OnPodConditions {
			x := q.Child("onPodConditions").Index(k)
			errs = append(errs, check(x.Child("type"), string(c.Type), nameIsQualified(string(c.Type)))...)
			errs = append(errs, listedOneOf(x.Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
		}
		switch {
		case r.OnExitCodes != nil && len(r.OnPodConditions) > 0:
			errs = append(errs, field.Invalid(q, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
		case r.OnExitCodes == nil && len(r.OnPodConditions) == 0:
			errs = append(errs, field.Invalid(q, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
		}
	}
	return errs
}

// listedOneOf is requiredOneOf, and tells what there is to choose from when nothing is set.
func listedOneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(at, fmt.Sprintf("valid values: %q", allowed))}
	}
	return oneOf(at, value, allowed...)
}

func validateExitCodes(c *batchv1.PodFailurePolicyOnExitCodesRequirement, s *batchv1.JobSpec, at *field.Path, most int) field.ErrorList {
	errs := listedOneOf(at.Child("operator"), c.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if n := c.ContainerName; n != nil {
		has := func(l []corev1.Container) bool {
			return slices.ContainsFunc(l, func(c corev1.Container) bool { return c.Name == *n })
		}
		if !has(s.Template.Spec.Containers) && !has(s.Template.Spec.InitContainers) {
			errs = append(errs, field.Invalid(at.Child("containerName"), *n, "must be one of the container or initContainer names in the pod template"))
		}
	}
	v := at.Child("values")
	switch n := len(c.Values); {
	case n == 0:
		errs = append(errs, field.Invalid(v, c.Values, "at least one value is required"))
	case n > most:
		errs = append(errs, field.TooMany(v, n, most))
	}
	for i, code := range c.Values {
		if code == 0 && c.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn {
			errs = append(errs, field.Invalid(v.Index(i), code, "must not be 0 for the In operator"))
		}
		if slices.Contains(c.Values[:i], code) {
			errs = append(errs, field.Duplicate(v.Index(i), code))
		}
	}
	if !slices.IsSorted(c.Values) {
		errs = append(errs, field.Invalid(v, c.Values, "must be ordered"))
	}
	return errs
}

func validateSuccessPolicy(p *batchv1.SuccessPolicy, s *batchv1.JobSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if deref(s.CompletionMode, "") != batchv1.IndexedCompletion {
		return field.ErrorList{field.Invalid(at, goform.Of(p), notIndexed)}
	}
	rules := at.Child("rules")
	const most = 20
	switch n := len(p.Rules); {
	case n == 0:
		errs = append(errs, field.Required(rules, "at least one rules must be specified when the successPolicy is specified"))
	case n > most:
		errs = append(errs, field.TooMany(rules, n, most))
	}
	completions := int(deref(s.Completions, 0))
	for i, r := range p.Rules {
		q := rules.Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			errs = append(errs, field.Required(q, "at least one of succeededCount or succeededIndexes must be specified"))
			continue
		}
		total := 0
		if x := r.SucceededIndexes; x != nil {
			n, err := indexCount(*x, completions)
			if err != nil {
				errs = append(errs, field.Invalid(q.Child("succeededIndexes"), *x, "error parsing succeededIndexes: "+err.Error()))
			}
			total = n
		}
		if c := r.SucceededCount; c != nil {
			errs = append(errs, nonNegative(num(q.Child("succeededCount"), c))...)
			if s.Completions != nil && int(*c) > completions {
				errs = append(errs, field.Invalid(q.Child("succeededCount"), *c,
					fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
			}
			if r.SucceededIndexes != nil && int(*c) > total {
				errs = append(errs, field.Invalid(q.Child("succeededCount"), *c,
					fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total)))
			}
		}
	}
	return errs
}

// indexCount counts the indexes of a list like "1,3-5,7", which has to be ascending and below completions; an empty list has none.
func indexCount(list string, completions int) (int, error) {
	if list == "" {
		return 0, nil
	}
	count, last := 0, -1
	for _, part := range strings.Split(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		lo, err := strconv.Atoi(from)
		if err != nil {
			return 0, fmt.Errorf("cannot convert string to integer for index: %q", from)
		}
		if lo >= completions {
			return 0, fmt.Errorf("too large index: %q", from)
		}
		hi := lo
		if ranged {
			if hi, err = strconv.Atoi(to); err != nil {
				return 0, fmt.Errorf("cannot convert string to integer for index: %q", to)
			}
			if hi >= completions {
				return 0, fmt.Errorf("too large index: %q", to)
			}
			if lo >= hi {
				return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", lo, hi)
			}
		}
		if lo <= last {
			return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", last, lo)
		}
		count, last = count+hi-lo+1, hi
	}
	return count, nil
}

func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	s, o := &j.Spec, &old.Spec
	var errs field.ErrorList
	if deref(s.CompletionMode, "") == batchv1.IndexedCompletion && s.Completions != nil && s.Parallelism != nil && o.Completions != nil {
		if *s.Completions != *o.Completions && *s.Completions != *s.Parallelism {
			errs = append(errs, field.Invalid(specPath.Child("completions"), *s.Completions, "can only be modified in tandem with spec.parallelism"))
		}
	} else {
		errs = append(errs, immutable(s.Completions, o.Completions, specPath.Child("completions"))...)
	}
	errs = append(errs, immutable(s.Selector, o.Selector, specPath.Child("selector"))...)
	template := s.Template.DeepCopy()
	if deref(o.Suspend, false) && old.Status.StartTime == nil {
		allowScheduling(template, &o.Template)
	}
	errs = append(errs, immutableWhole(*template, o.Template, specPath.Child("template"))...)
	errs = append(errs, immutable(s.CompletionMode, o.CompletionMode, specPath.Child("completionMode"))...)
	errs = append(errs, immutableWhole(s.PodFailurePolicy, o.PodFailurePolicy, specPath.Child("podFailurePolicy"))...)
	errs = append(errs, immutable(s.BackoffLimitPerIndex, o.BackoffLimitPerIndex, specPath.Child("backoffLimitPerIndex"))...)
	errs = append(errs, immutable(s.ManagedBy, o.ManagedBy, specPath.Child("managedBy"))...)
	return append(errs, immutableWhole(s.SuccessPolicy, o.SuccessPolicy, specPath.Child("successPolicy"))...)
}

// allowScheduling takes back what may change in the template of a suspended job that has not begun: where its
// pods go and what they get (KEP-2926).
func allowScheduling(t, old *corev1.PodTemplateSpec) {
	t.Labels, t.Annotations = old.Labels, old.Annotations
	t.Spec.NodeSelector, t.Spec.Tolerations = old.Spec.NodeSelector, old.Spec.Tolerations
	t.Spec.SchedulingGates = old.Spec.SchedulingGates
	t.Spec.Affinity = takeBackNodeAffinity(t.Spec.Affinity, old.Spec.Affinity)
	for _, l := range [][2][]corev1.Container{{t.Spec.Containers, old.Spec.Containers}, {t.Spec.InitContainers, old.Spec.InitContainers}} {
		for i := range min(len(l[0]), len(l[1])) {
			l[0][i].Resources = l[1][i].Resources
		}
	}
}

func validateJobStatus(j, old *batchv1.Job) field.ErrorList {
	s := &j.Status
	errs := nonNegative(number{statusPath.Child("active"), int64(s.Active)}, number{statusPath.Child("succeeded"), int64(s.Succeeded)},
		number{statusPath.Child("failed"), int64(s.Failed)}, num(statusPath.Child("ready"), s.Ready), num(statusPath.Child("terminating"), s.Terminating))
	if r := deref(s.Ready, 0); r > s.Active {
		errs = append(errs, field.Invalid(statusPath.Child("ready"), r, "cannot set more ready pods than active"))
	}
	if u := s.UncountedTerminatedPods; u != nil {
		errs = append(errs, validateUncounted(u, statusPath.Child("uncountedTerminatedPods"))...)
	}
	is := func(job *batchv1.Job, t batchv1.JobConditionType) bool {
		return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == t && c.Status == corev1.ConditionTrue
		})
	}
	if is(j, batchv1.JobComplete) && is(j, batchv1.JobFailed) {
		errs = append(errs, field.Invalid(statusPath.Child("conditions"), field.OmitValueType{}, "cannot set Complete=True and Failed=true conditions"))
	}
	for _, t := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if is(old, t) && !is(j, t) {
			errs = append(errs, field.Invalid(statusPath.Child("conditions"), field.OmitValueType{}, fmt.Sprintf("cannot disable the terminal %s=True condition", t)))
		}
	}
	return errs
}

// validateUncounted: a pod that is yet to be counted is listed once.
func validateUncounted(u *batchv1.UncountedTerminatedPods, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[types.UID]()
	for _, l := range []struct {
		name string
		uids []types.UID
	}{{"succeeded", u.Succeeded}, {"failed", u.Failed}} {
		for i, uid := range l.uids {
			q := at.Child(l.name).Index(i)
			switch {
			case uid == "":
				errs = append(errs, field.Invalid(q, uid, "must not be empty"))
			case seen.Has(uid):
				errs = append(errs, field.Duplicate(q, uid))
			}
			seen.Insert(uid)
		}
	}
	return errs
}

package object

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func daemonSetKind() *Kind {
	spec, status := doc(appsv1.DaemonSetSpec{}.SwaggerDoc()), doc(appsv1.DaemonSetStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[appsv1.DaemonSet, appsv1.DaemonSetList](appsv1.SchemeGroupVersion, "DaemonSet")},
		Resource:      "daemonsets",
		Singular:      "daemonset",
		ShortNames:    []string{"ds"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "daemonsets",
		Strategy: rules[*appsv1.DaemonSet]{
			Default: defaultDaemonSet,
			PrepareCreate: func(d *appsv1.DaemonSet) {
				d.Status = appsv1.DaemonSetStatus{}
				firstGeneration(d)
				setTemplateGeneration(d, max(templateGeneration(d), 1))
			},
			PrepareUpdate: func(d, old *appsv1.DaemonSet) {
				d.Status = *old.Status.DeepCopy()
				nextGeneration(d, old, d.Spec, old.Spec)
				n := templateGeneration(old)
				if !apiequality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
					n++
				}
				setTemplateGeneration(d, n)
			},
			ValidateCreate: validateDaemonSet,
			Warnings: func(d, old *appsv1.DaemonSet) []string {
				return templateWarnings(d, old, &d.Spec.Template, specPath.Child("template"))
			},
			ValidateUpdate: func(d, old *appsv1.DaemonSet) field.ErrorList {
				return append(immutable(d.Spec.Selector, old.Spec.Selector, specPath.Child("selector")), validateDaemonSet(d)...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*appsv1.DaemonSet]{
			PrepareUpdate: func(d, old *appsv1.DaemonSet) {
				d.Spec = *old.Spec.DeepCopy()
				setTemplateGeneration(d, templateGeneration(old))
			},
			ValidateUpdate: validateDaemonSetStatus,
		})},
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Desired", "integer", status["desiredNumberScheduled"]),
			column("Current", "integer", status["currentNumberScheduled"]),
			column("Ready", "integer", status["numberReady"]),
			column("Up-to-date", "integer", status["updatedNumberScheduled"]),
			column("Available", "integer", status["numberAvailable"]),
			column("Node Selector", "string", doc(corev1.PodSpec{}.SwaggerDoc())["nodeSelector"]),
			ageColumn(),
		}, workloadColumns(spec["selector"])...),
		Cells: cells(func(d *appsv1.DaemonSet, now time.Time) []any {
			s := &d.Status
			return append([]any{
				d.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady),
				int64(s.UpdatedNumberScheduled), int64(s.NumberAvailable), labelsText(d.Spec.Template.Spec.NodeSelector), age(d, now),
			}, templateText(&d.Spec.Template, d.Spec.Selector)...)
		}),
	}
}

// The number of templates that a daemon set has had is kept in an annotation, for old clients.

func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(n, 10)
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	if _, counted := d.Annotations[appsv1.DeprecatedTemplateGeneration]; !counted {
		setTemplateGeneration(d, 0) // who makes the set manages the count, too
	}
	podspec.DefaultTemplate(&d.Spec.Template.Spec)
	setDefaultPtr(&d.Spec.RevisionHistoryLimit, 10)
	s := &d.Spec.UpdateStrategy
	setDefault(&s.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if s.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		setDefaultPtr(&s.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		setDefaultPtr(&s.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		setDefaultPtr(&s.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	} else if s.RollingUpdate != nil {
		// It has no meaning, but shows what it comes to.
		setDefaultPtr(&s.RollingUpdate.MaxUnavailable, intstr.FromInt32(0))
		setDefaultPtr(&s.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
}

func validateDaemonSet(d *appsv1.DaemonSet) field.ErrorList {
	s := &d.Spec
	errs := validateSelector(s.Selector, &s.Template, "daemonset")
	errs = append(errs, validateRunningTemplate(&s.Template, "DaemonSet")...)
	errs = append(errs, nonNegative(number{specPath.Child("minReadySeconds"), int64(s.MinReadySeconds)},
		num(specPath.Child("revisionHistoryLimit"), s.RevisionHistoryLimit))...)

	at := specPath.Child("updateStrategy")
	switch s.UpdateStrategy.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return errs
	case appsv1.RollingUpdateDaemonSetStrategyType:
	default:
		return append(errs, field.NotSupported(at, goform.Of(s.UpdateStrategy), []appsv1.DaemonSetUpdateStrategyType{
			appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType}))
	}
	p, r := at.Child("rollingUpdate"), s.UpdateStrategy.RollingUpdate
	if r == nil {
		return append(errs, field.Required(p, ""))
	}
	errs = append(errs, intOrPercent(r.MaxUnavailable, p.Child("maxUnavailable"))...)
	errs = append(errs, intOrPercent(r.MaxSurge, p.Child("maxSurge"))...)
	errs = append(errs, atMost100Percent(r.MaxUnavailable, p.Child("maxUnavailable"))...)
	errs = append(errs, atMost100Percent(r.MaxSurge, p.Child("maxSurge"))...)
	switch {
	case !isZero(r.MaxUnavailable) && !isZero(r.MaxSurge):
		errs = append(errs, field.Invalid(p.Child("maxSurge"), r.MaxSurge, "may not be set when maxUnavailable is non-zero"))
	case isZero(r.MaxUnavailable) && isZero(r.MaxSurge):
		errs = append(errs, field.Required(p.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	s := &d.Status
	n := func(name string, v int32) number { return number{statusPath.Child(name), int64(v)} }
	errs := nonNegative(
		n("currentNumberScheduled", s.CurrentNumberScheduled), n("numberMisscheduled", s.NumberMisscheduled),
		n("desiredNumberScheduled", s.DesiredNumberScheduled), n("numberReady", s.NumberReady),
		n("updatedNumberScheduled", s.UpdatedNumberScheduled), n("numberAvailable", s.NumberAvailable),
		n("numberUnavailable", s.NumberUnavailable), number{statusPath.Child("observedGeneration"), s.ObservedGeneration})
	if c := s.CollisionCount; c != nil {
		errs = append(errs, nonNegative(num(statusPath.Child("collisionCount"), c))...)
	}
	if deref(s.CollisionCount, 0) < deref(old.Status.CollisionCount, 0) {
		errs = append(errs, field.Invalid(statusPath.Child("collisionCount"), deref(s.CollisionCount, 0), "cannot be decremented"))
	}
	return errs
}

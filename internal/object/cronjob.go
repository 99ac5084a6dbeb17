package object

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/cron"
	"hyperkube/internal/object/podspec"
)

func cronJobKind() *Kind {
	spec, status := doc(batchv1.CronJobSpec{}.SwaggerDoc()), doc(batchv1.CronJobStatus{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[batchv1.CronJob, batchv1.CronJobList](batchv1.SchemeGroupVersion, "CronJob")},
		Resource:      "cronjobs",
		Singular:      "cronjob",
		ShortNames:    []string{"cj"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "cronjobs",
		Strategy: rules[*batchv1.CronJob]{
			Default: func(c *batchv1.CronJob) {
				setDefault(&c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
				setDefaultPtr(&c.Spec.Suspend, false)
				setDefaultPtr(&c.Spec.SuccessfulJobsHistoryLimit, 3)
				setDefaultPtr(&c.Spec.FailedJobsHistoryLimit, 1)
				c.Spec.JobTemplate.Spec.Scheduling = nil // of a feature that is off
				podspec.DefaultTemplate(&c.Spec.JobTemplate.Spec.Template.Spec)
			},
			PrepareCreate: func(c *batchv1.CronJob) {
				c.Status = batchv1.CronJobStatus{}
				firstGeneration(c)
			},
			PrepareUpdate: func(c, old *batchv1.CronJob) {
				c.Status = *old.Status.DeepCopy()
				nextGeneration(c, old, c.Spec, old.Spec)
			},
			Validate:       validateCronJob,
			ValidateCreate: validateNewCronJob,
			ValidateUpdate: func(c, old *batchv1.CronJob) field.ErrorList {
				if strings.Contains(old.Spec.Schedule, "TZ") { // made before it was forbidden
					return nil
				}
				return noZoneInSchedule(c)
			},
			Warnings: func(c, old *batchv1.CronJob) []string {
				return append(podNameWarnings(c, old), templateWarnings(c, old, &c.Spec.JobTemplate.Spec.Template, specPath.Child("jobTemplate", "spec", "template"))...)
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*batchv1.CronJob]{
			PrepareUpdate: func(c, old *batchv1.CronJob) { c.Spec = *old.Spec.DeepCopy() },
		})},
		Columns: append([]metav1.TableColumnDefinition{
			nameColumn(),
			column("Schedule", "string", spec["schedule"]),
			column("Timezone", "string", spec["timeZone"]),
			column("Suspend", "boolean", spec["suspend"]),
			column("Active", "integer", status["active"]),
			column("Last Schedule", "string", status["lastScheduleTime"]),
			ageColumn(),
		}, workloadColumns(doc(batchv1.JobSpec{}.SwaggerDoc())["selector"])...),
		Cells: cells(func(c *batchv1.CronJob, now time.Time) []any {
			last := none
			if c.Status.LastScheduleTime != nil {
				last = since(*c.Status.LastScheduleTime, now)
			}
			job := &c.Spec.JobTemplate.Spec
			return append([]any{
				c.Name, c.Spec.Schedule, deref(c.Spec.TimeZone, none), printBool(deref(c.Spec.Suspend, false)),
				int64(len(c.Status.Active)), last, age(c, now),
			}, templateText(&job.Template, job.Selector)...)
		}),
	}
}

func validateCronJob(c *batchv1.CronJob) field.ErrorList {
	s := &c.Spec
	var errs field.ErrorList
	at := specPath.Child("schedule")
	if s.Schedule != "" {
		if _, err := cron.Parse(withoutZone(s.Schedule)); err != nil {
			errs = append(errs, field.Invalid(at, s.Schedule, err.Error()))
		}
	}
	errs = append(errs, nonNegative(num(specPath.Child("startingDeadlineSeconds"), s.StartingDeadlineSeconds),
		num(specPath.Child("successfulJobsHistoryLimit"), s.SuccessfulJobsHistoryLimit),
		num(specPath.Child("failedJobsHistoryLimit"), s.FailedJobsHistoryLimit))...)
	errs = append(errs, requiredOneOf(specPath.Child("concurrencyPolicy"), s.ConcurrencyPolicy,
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	errs = append(errs, validateTimeZone(s.TimeZone, specPath.Child("timeZone"))...)

	job := specPath.Child("jobTemplate", "spec")
	if sel := s.JobTemplate.Spec.Selector; sel != nil {
		errs = append(errs, field.Invalid(job.Child("selector"), sel, "`selector` will be auto-generated"))
	}
	if s.JobTemplate.Spec.ManualSelector != nil && *s.JobTemplate.Spec.ManualSelector {
		errs = append(errs, field.NotSupported(job.Child("manualSelector"), true, []string{"nil", "false"}))
	}
	errs = append(errs, validateJobSpec(&s.JobTemplate.Spec, job)...)
	if s.Schedule == "" {
		errs = append(errs, field.Required(at, ""))
	}
	return errs
}

// withoutZone takes away the time zone that a schedule may not name, to judge the rest of it.
func withoutZone(schedule string) string {
	if strings.HasPrefix(schedule, "TZ=") || strings.HasPrefix(schedule, "CRON_TZ=") {
		_, rest, _ := strings.Cut(schedule, " ")
		return rest
	}
	return schedule
}

func noZoneInSchedule(c *batchv1.CronJob) field.ErrorList {
	if !strings.Contains(c.Spec.Schedule, "TZ") {
		return nil
	}
	return field.ErrorList{field.Invalid(specPath.Child("schedule"), c.Spec.Schedule,
		"cannot use TZ or CRON_TZ in schedule, use timeZone field instead")}
}

func validateTimeZone(zone *string, at *field.Path) field.ErrorList {
	switch {
	case zone == nil:
		return nil
	case *zone == "":
		return field.ErrorList{field.Invalid(at, zone, "timeZone must be nil or non-empty string")}
	}
	var errs field.ErrorList
	if strings.EqualFold(*zone, "Local") {
		errs = append(errs, field.Invalid(at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(*zone); err != nil { // whose own words tell of this machine's files
		errs = append(errs, field.Invalid(at, zone, "unknown time zone "+*zone))
	}
	return errs
}

// validateNewCronJob leaves room in the name for the time that is appended to the names of jobs.
func validateNewCronJob(c *batchv1.CronJob) field.ErrorList {
	const longest = 52
	var errs field.ErrorList
	if len(c.Name) > longest {
		errs = append(errs, field.Invalid(metadataPath.Child("name"), c.Name, "must be no more than 52 characters"))
	}
	return append(errs, noZoneInSchedule(c)...)
}

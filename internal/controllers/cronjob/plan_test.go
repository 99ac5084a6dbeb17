package cronjob

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object/cron"
)

func TestSchedule(t *testing.T) {
	made := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	clock := func(h, m, s int) time.Time { return time.Date(2026, 3, 1, h, m, s, 0, time.UTC) }
	for name, c := range map[string]struct {
		schedule  string
		last      time.Time
		deadline  int64
		now       time.Time
		due, next time.Time
		missed    int
		zone      string
	}{
		"not yet":                {schedule: "5 * * * *", now: clock(12, 1, 0), next: clock(12, 5, 0)},
		"just due":               {schedule: "5 * * * *", now: clock(12, 5, 0), due: clock(12, 5, 0), missed: 1, next: clock(13, 5, 0)},
		"started already":        {schedule: "5 * * * *", last: clock(12, 5, 0), now: clock(12, 5, 1), next: clock(13, 5, 0)},
		"several missed":         {schedule: "* * * * *", last: clock(12, 1, 0), now: clock(12, 4, 10), due: clock(12, 4, 0), missed: 3, next: clock(12, 5, 0)},
		"too old":                {schedule: "5 * * * *", deadline: 60, now: clock(12, 7, 0), next: clock(13, 5, 0)},
		"old, but not too old":   {schedule: "5 * * * *", deadline: 60, now: clock(12, 5, 59), due: clock(12, 5, 0), missed: 1, next: clock(13, 5, 0)},
		"never":                  {schedule: "0 0 30 2 *", now: clock(12, 5, 0)},
		"noon in India":          {schedule: "30 18 * * *", now: clock(13, 0, 0), due: clock(13, 0, 0), missed: 1, next: clock(13, 0, 0).Add(24 * time.Hour), zone: "Asia/Kolkata"},
		"every so many, on time": {schedule: "@every 1h", last: clock(12, 10, 0), now: clock(14, 20, 0), due: clock(14, 10, 0), missed: 2, next: clock(15, 10, 0)},
	} {
		cj := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(made)}, Spec: batchv1.CronJobSpec{Schedule: c.schedule}}
		cj.Spec.TimeZone = ptr.To("UTC")
		if c.zone != "" {
			cj.Spec.TimeZone = &c.zone
		}
		if !c.last.IsZero() {
			cj.Status.LastScheduleTime = ptr.To(metav1.NewTime(c.last))
		}
		if c.deadline > 0 {
			cj.Spec.StartingDeadlineSeconds = &c.deadline
		}
		s, err := cron.Parse(c.schedule)
		require.NoError(t, err)
		now, err := zone(cj, c.now)
		require.NoError(t, err)
		d := at(cj, s, now)
		require.True(t, c.due.Equal(d.last), "%s: due %v", name, d.last)
		require.True(t, c.next.Equal(d.next), "%s: next %v", name, d.next)
		require.Equal(t, c.missed, d.missed, name)
	}
	_, err := zone(&batchv1.CronJob{Spec: batchv1.CronJobSpec{TimeZone: ptr.To("Moon/Tycho")}}, made)
	require.Error(t, err)
}

func TestHistory(t *testing.T) {
	job := func(name string, minute int, end batchv1.JobConditionType) *batchv1.Job {
		at := metav1.NewTime(time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC))
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: batchv1.JobStatus{StartTime: &at}}
		if end != "" {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse}, {Type: end, Status: corev1.ConditionTrue}}
		}
		return j
	}
	all := []*batchv1.Job{
		job("good3", 3, batchv1.JobComplete), job("good1", 1, batchv1.JobComplete), job("good2", 2, batchv1.JobComplete),
		job("bad1", 1, batchv1.JobFailed), job("bad2", 2, batchv1.JobFailed), job("runs", 0, ""),
	}
	names := func(good, bad *int32) (out []string) {
		for _, j := range surplus(all, good, bad) {
			out = append(out, j.Name)
		}
		return out
	}
	require.Empty(t, names(nil, nil))
	require.Equal(t, []string{"good1", "bad1"}, names(ptr.To(int32(2)), ptr.To(int32(1))))
	require.Equal(t, []string{"good1", "good2", "good3"}, names(ptr.To(int32(0)), nil))
}

func TestJobFor(t *testing.T) {
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "backup", UID: "u"}}
	c.Spec.JobTemplate.Labels = map[string]string{"a": "b"}
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	j := jobFor(c, time.Date(2026, 3, 1, 12, 0, 0, 0, berlin))
	require.Equal(t, "backup-29539380", j.Name)
	require.Equal(t, "2026-03-01T12:00:00+01:00", j.Annotations[batchv1.CronJobScheduledTimestampAnnotation])
	require.Equal(t, c.Spec.JobTemplate.Labels, j.Labels)
	require.True(t, metav1.IsControlledBy(j, c))
}

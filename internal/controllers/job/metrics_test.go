package job

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/controllers"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(controllers.Deps{Metrics: reg})
	m := newMetrics(controllers.Deps{Metrics: reg}) // the lead was lost and won again
	old := job(perIndex(0))
	next := old.DeepCopy()
	next.Status = batchv1.JobStatus{Succeeded: 2, Failed: 1, FailedIndexes: ptr.To("1"), CompletedIndexes: "0,2"}
	setCondition(next, batchv1.JobFailed, corev1.ConditionTrue, "FailedIndexes", "m", now)
	m.wrote(old, next)
	m.wrote(next, next)
	m.create(see(job()), 3, 2)
	held := pod(corev1.PodFailed)
	free := held.DeepCopy()
	free.Finalizers = nil
	m.follow(nil, held)
	m.follow(held, free)
	m.follow(free, nil)

	families, err := reg.Gather()
	require.NoError(t, err)
	var got []string
	for _, f := range families {
		for _, x := range f.Metric {
			var l []string
			for _, p := range x.Label {
				l = append(l, p.GetValue())
			}
			got = append(got, fmt.Sprintf("%s%v%v", strings.TrimPrefix(f.GetName(), "job_controller_"), l, x.Counter.GetValue()))
		}
	}
	slices.Sort(got)
	require.Equal(t, []string{
		"job_finished_indexes_total[perIndex failed]1", "job_finished_indexes_total[perIndex succeeded]2",
		"job_pods_creation_total[new failed]1", "job_pods_creation_total[new succeeded]2",
		"job_pods_finished_total[Indexed failed]1", "job_pods_finished_total[Indexed succeeded]2",
		"jobs_finished_total[Indexed FailedIndexes failed]1",
		"terminated_pods_tracking_finalizer_total[add]1", "terminated_pods_tracking_finalizer_total[delete]1",
	}, got)
}

package scheduler

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentbase "k8s.io/component-base/config/v1alpha1"
	v1 "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/ptr"
)

// configz is the configuration as it acts: what the file and the flags say, and the defaults of the rest.
func (cfg *Config) configz() map[string]any {
	s := *cfg.Scheduler.DeepCopy()
	s.TypeMeta = metav1.TypeMeta{APIVersion: v1.SchemeGroupVersion.String(), Kind: "KubeSchedulerConfiguration"}
	e := cfg.LeaderElection
	s.LeaderElection = componentbase.LeaderElectionConfiguration{
		LeaderElect: ptr.To(e.Enabled), LeaseDuration: metav1.Duration{Duration: e.LeaseDuration}, RenewDeadline: metav1.Duration{Duration: e.RenewDeadline},
		RetryPeriod: metav1.Duration{Duration: e.RetryPeriod}, ResourceLock: "leases", ResourceName: e.Name, ResourceNamespace: e.Namespace,
	}
	s.EnableProfiling = ptr.To(cfg.Serving.Profiling)
	def(&s.Parallelism, 16)
	def(&s.PercentageOfNodesToScore, 0)
	def(&s.PodInitialBackoffSeconds, 1)
	def(&s.PodMaxBackoffSeconds, 10)
	if len(s.Profiles) == 0 {
		s.Profiles = []v1.KubeSchedulerProfile{{}}
	}
	for i := range s.Profiles {
		def(&s.Profiles[i].SchedulerName, "default-scheduler")
	}
	return map[string]any{"kubescheduler.config.k8s.io": s}
}

func def[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

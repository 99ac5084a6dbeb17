package podautoscaler

import (
	"context"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/controllers/podset"
)

// proposal is what one metric asks for.
type proposal struct {
	replicas int32
	name     string
	status   autoscalingv2.MetricStatus
}

// measure asks all metrics; the one that wants most pods decides. While one cannot be read, the target does not shrink.
func (p *pass) measure(ctx context.Context, current int32) (wanted int32, metric string, err error) {
	if err := p.selectPods(); err != nil {
		return current, "", err
	}
	var failed error
	bad := 0
	var statuses []autoscalingv2.MetricStatus
	for i := range p.hpa.Spec.Metrics {
		m := &p.hpa.Spec.Metrics[i]
		got, err := p.ask(ctx, m, current)
		if err != nil {
			reason := fmt.Sprintf("FailedGet%sMetric", m.Type)
			p.warn(reason, "%v", err)
			if bad++; failed == nil {
				failed = err
				p.set(autoscalingv2.ScalingActive, corev1.ConditionFalse, reason, "the HPA was unable to compute the replica count: %v", err)
			}
			statuses = append(statuses, autoscalingv2.MetricStatus{})
			continue
		}
		statuses = append(statuses, got.status)
		if metric == "" || got.replicas > wanted {
			wanted, metric = got.replicas, got.name
		}
	}
	if failed != nil {
		failed = fmt.Errorf("invalid metrics (%d invalid out of %d), first error is: %w", bad, len(p.hpa.Spec.Metrics), failed)
	}
	if metric == "" || (failed != nil && wanted < current) {
		return current, "", failed
	}
	p.hpa.Status.CurrentMetrics = statuses
	p.set(autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from %s", metric)
	return wanted, metric, nil
}

func (p *pass) ask(ctx context.Context, m *autoscalingv2.MetricSpec, current int32) (proposal, error) {
	switch {
	case m.Resource != nil:
		out, status, err := p.resourceMetric(ctx, m.Resource.Name, "", m.Resource.Target, current)
		out.name = fmt.Sprintf("%s resource utilization (percentage of request)", m.Resource.Name)
		if m.Resource.Target.AverageUtilization == nil {
			out.name = fmt.Sprintf("%s resource", m.Resource.Name)
		}
		out.status = autoscalingv2.MetricStatus{Type: m.Type, Resource: &autoscalingv2.ResourceMetricStatus{Name: m.Resource.Name, Current: status}}
		return out, err
	case m.ContainerResource != nil:
		r := m.ContainerResource
		out, status, err := p.resourceMetric(ctx, r.Name, r.Container, r.Target, current)
		out.name = fmt.Sprintf("%s container resource utilization (percentage of request)", r.Name)
		out.status = autoscalingv2.MetricStatus{Type: m.Type, ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Name: r.Name, Container: r.Container, Current: status}}
		return out, err
	case m.Pods != nil:
		return p.podsMetric(ctx, m, current)
	case m.Object != nil:
		return p.objectMetric(ctx, m, current)
	case m.External != nil:
		return p.externalMetric(ctx, m, current)
	}
	return proposal{}, fmt.Errorf("unknown metric source type %q", m.Type)
}

// resourceMetric compares what pods use with what they request, or with a value.
func (p *pass) resourceMetric(ctx context.Context, r corev1.ResourceName, container string, t autoscalingv2.MetricTarget, current int32) (proposal, autoscalingv2.MetricValueStatus, error) {
	var none autoscalingv2.MetricValueStatus
	got, err := p.usage(ctx, r, container)
	if err != nil {
		return proposal{}, none, fmt.Errorf("failed to get %s utilization: %w", r, err)
	}
	pods := p.pods()
	use, unready, missing := group(pods, got, r == corev1.ResourceCPU, p.c.opts, p.now)
	if len(use) == 0 {
		return proposal{}, none, fmt.Errorf("failed to get %s utilization: did not receive metrics for targeted pods (pods might be unready)", r)
	}
	d := demand{use: use, unready: unready, missing: missing}
	status := autoscalingv2.MetricValueStatus{AverageValue: quantity(use.sum() / int64(len(use)))}
	switch {
	case t.AverageUtilization != nil:
		share := int64(*t.AverageUtilization)
		asked := map[string]int64{}
		for _, pod := range pods {
			if pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed {
				if asked[pod.Name], err = requests(pod, container, r); err != nil {
					return proposal{}, none, fmt.Errorf("failed to get %s utilization: %w", r, err)
				}
			}
		}
		d.target = func(pod string) int64 { return asked[pod] * share / 100 }
		d.full = func(pod string) int64 { return asked[pod] * max(share, 100) / 100 }
		var total int64
		for pod := range use {
			total += asked[pod]
		}
		if total > 0 {
			now := int32(use.sum() * 100 / total)
			status.AverageUtilization = &now
		}
	case t.AverageValue != nil:
		each := t.AverageValue.MilliValue()
		d.target = func(string) int64 { return each }
		d.full = d.target
	default:
		return proposal{}, none, fmt.Errorf("invalid resource metric source: neither an average utilization nor an average value was set")
	}
	return proposal{replicas: d.replicas(current, p.tolerance())}, status, nil
}

func (p *pass) tolerance() tolerance { return toleranceOf(p.hpa.Spec.Behavior, p.c.opts.Tolerance) }

func (p *pass) podsMetric(ctx context.Context, m *autoscalingv2.MetricSpec, current int32) (proposal, error) {
	if m.Pods.Target.AverageValue == nil {
		return proposal{}, fmt.Errorf("invalid pods metric source: no average value was set")
	}
	values, err := p.values(ctx, "pods/*", m.Pods.Metric, p.selector.String())
	if err != nil {
		return proposal{}, fmt.Errorf("failed to get pods metric value: %w", err)
	}
	got := map[string]sample{}
	for name, v := range values {
		got[name] = sample{milli: v}
	}
	d := demand{}
	d.use, d.unready, d.missing = group(p.pods(), got, false, p.c.opts, p.now)
	if len(d.use) == 0 {
		return proposal{}, fmt.Errorf("failed to get pods metric value: did not receive metrics for targeted pods (pods might be unready)")
	}
	each := m.Pods.Target.AverageValue.MilliValue()
	d.target = func(string) int64 { return each }
	d.full = d.target
	return proposal{
		replicas: d.replicas(current, p.tolerance()), name: "pods metric " + m.Pods.Metric.Name,
		status: autoscalingv2.MetricStatus{Type: m.Type, Pods: &autoscalingv2.PodsMetricStatus{
			Metric: m.Pods.Metric, Current: autoscalingv2.MetricValueStatus{AverageValue: quantity(d.use.sum() / int64(len(d.use)))}}},
	}, nil
}

func (p *pass) objectMetric(ctx context.Context, m *autoscalingv2.MetricSpec, current int32) (proposal, error) {
	o := m.Object
	gv, err := schema.ParseGroupVersion(o.DescribedObject.APIVersion)
	if err != nil {
		return proposal{}, err
	}
	r, err := p.c.kinds.resource(ctx, p.c.client, schema.GroupKind{Group: gv.Group, Kind: o.DescribedObject.Kind})
	if err != nil {
		return proposal{}, err
	}
	of := strings.TrimSuffix(r.Resource+"."+r.Group, ".") + "/" + o.DescribedObject.Name
	values, err := p.values(ctx, of, o.Metric, "")
	if err != nil {
		return proposal{}, fmt.Errorf("failed to get object metric value: %w", err)
	}
	n, status, err := p.fromTotal(values.sum(), o.Target, current)
	return proposal{replicas: n, name: o.DescribedObject.Kind + " metric " + o.Metric.Name, status: autoscalingv2.MetricStatus{
		Type: m.Type, Object: &autoscalingv2.ObjectMetricStatus{Metric: o.Metric, DescribedObject: o.DescribedObject, Current: status}}}, err
}

func (p *pass) externalMetric(ctx context.Context, m *autoscalingv2.MetricSpec, current int32) (proposal, error) {
	total, err := p.external(ctx, m.External.Metric)
	if err != nil {
		return proposal{}, fmt.Errorf("failed to get %s external metric value: %w", m.External.Metric.Name, err)
	}
	n, status, err := p.fromTotal(total, m.External.Target, current)
	return proposal{replicas: n, name: "external metric " + m.External.Metric.Name, status: autoscalingv2.MetricStatus{
		Type: m.Type, External: &autoscalingv2.ExternalMetricStatus{Metric: m.External.Metric, Current: status}}}, err
}

// fromTotal is the size for one value that all pods share.
func (p *pass) fromTotal(total int64, t autoscalingv2.MetricTarget, current int32) (int32, autoscalingv2.MetricValueStatus, error) {
	switch {
	case t.AverageValue != nil:
		running := p.scale.Status.Replicas
		status := autoscalingv2.MetricValueStatus{AverageValue: quantity(total / int64(max(running, 1)))}
		return forAverage(total, t.AverageValue.MilliValue(), current, running, p.tolerance()), status, nil
	case t.Value != nil:
		ready := int32(0)
		for _, pod := range p.pods() {
			if pod.Status.Phase == corev1.PodRunning && podset.IsReady(pod) {
				ready++
			}
		}
		return forTotal(total, t.Value.MilliValue(), current, ready, p.tolerance()), autoscalingv2.MetricValueStatus{Value: quantity(total)}, nil
	}
	return current, autoscalingv2.MetricValueStatus{}, fmt.Errorf("invalid metric source: neither a value nor an average value was set")
}

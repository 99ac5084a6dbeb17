package podautoscaler

import (
	"context"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"hyperkube/internal/client"
)

// The APIs of metrics, in the versions that their servers have had for years.
var (
	podMetrics      = client.GVR{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}
	customMetrics   = client.GVR{Group: "custom.metrics.k8s.io", Version: "v1beta2"}
	externalMetrics = client.GVR{Group: "external.metrics.k8s.io", Version: "v1beta1"}
)

// usage reads what the target's pods use of a resource; container narrows it to one of them.
func (p *pass) usage(ctx context.Context, r corev1.ResourceName, container string) (map[string]sample, error) {
	items, err := p.list(ctx, podMetrics, p.selector.String())
	if err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from resource metrics API: %w", err)
	}
	out := map[string]sample{}
	for _, u := range items {
		s, ok, err := usageOf(u, r, container)
		if err != nil {
			return nil, err
		}
		if ok {
			out[u.GetName()] = s
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no metrics returned from resource metrics API")
	}
	return out, nil
}

// usageOf adds up a pod's containers; ok is false where one of them does not tell.
func usageOf(u *unstructured.Unstructured, r corev1.ResourceName, container string) (s sample, ok bool, err error) {
	list, _, err := unstructured.NestedSlice(u.Object, "containers")
	if err != nil {
		return s, false, fmt.Errorf("metrics of pod %s: %w", u.GetName(), err)
	}
	for _, c := range list {
		m, isMap := c.(map[string]any)
		if !isMap || (container != "" && m["name"] != container) {
			continue
		}
		text, found, err := unstructured.NestedString(m, "usage", string(r))
		if err != nil || !found {
			return s, false, err
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return s, false, fmt.Errorf("metrics of pod %s: %w", u.GetName(), err)
		}
		s.milli += q.MilliValue()
		ok = true
	}
	s.at, s.window = moment(u)
	return s, ok, nil
}

func moment(u *unstructured.Unstructured) (at time.Time, window time.Duration) {
	if text, _, err := unstructured.NestedString(u.Object, "timestamp"); err == nil {
		at, _ = time.Parse(time.RFC3339, text) // unknown is long ago
	}
	window = time.Minute
	if text, _, err := unstructured.NestedString(u.Object, "window"); err == nil {
		if d, err := time.ParseDuration(text); err == nil {
			window = d
		}
	}
	return at, window
}

// values reads a metric of objects, by their names. of is the path of the objects below the namespace, like "pods/*".
func (p *pass) values(ctx context.Context, of string, m autoscalingv2.MetricIdentifier, selector string) (samples, error) {
	if m.Selector != nil {
		return nil, fmt.Errorf("the metric %s has a selector, which is not supported for metrics of objects", m.Name)
	}
	r := customMetrics
	r.Resource = of + "/" + m.Name
	items, err := p.list(ctx, r, selector)
	if err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
	}
	out := samples{}
	for _, u := range items {
		name, _, err := unstructured.NestedString(u.Object, "describedObject", "name")
		if err != nil {
			return nil, err
		}
		if out[name], err = value(u); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no metrics returned from custom metrics API")
	}
	return out, nil
}

// external reads a metric that belongs to no object of the cluster: the sum of its series.
func (p *pass) external(ctx context.Context, m autoscalingv2.MetricIdentifier) (int64, error) {
	s, err := metav1.LabelSelectorAsSelector(m.Selector)
	if err != nil {
		return 0, err
	}
	text := ""
	if m.Selector != nil {
		text = s.String()
	}
	r := externalMetrics
	r.Resource = m.Name
	items, err := p.list(ctx, r, text)
	if err != nil {
		return 0, fmt.Errorf("unable to fetch metrics from external metrics API: %w", err)
	}
	if len(items) == 0 {
		return 0, fmt.Errorf("no metrics returned from external metrics API")
	}
	var sum int64
	for _, u := range items {
		v, err := value(u)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

func value(u *unstructured.Unstructured) (int64, error) {
	text, _, err := unstructured.NestedString(u.Object, "value")
	if err != nil {
		return 0, err
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("value of a metric: %w", err)
	}
	return q.MilliValue(), nil
}

func (p *pass) list(ctx context.Context, r client.GVR, selector string) ([]*unstructured.Unstructured, error) {
	l, err := p.c.client.List(ctx, r, p.hpa.Namespace, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	out := make([]*unstructured.Unstructured, 0, len(l.Items))
	for _, o := range l.Items {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("a metric is a %T", o)
		}
		out = append(out, u)
	}
	return out, nil
}

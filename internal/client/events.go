package client

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/object"
)

// NewRecorder writes events as component on host ("" for roles that belong to no node). Repeated events are counted
// in one object, and a flood from one source is cut off, as client-go's recorder does it.
// Writing happens in the background and ends with ctx.
func NewRecorder(ctx context.Context, c Interface, component, host string) record.EventRecorder {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(eventSink{ctx, c})
	return b.NewRecorder(object.Scheme(), corev1.EventSource{Component: component, Host: host})
}

type eventSink struct {
	ctx context.Context
	c   Interface
}

func (s eventSink) Create(e *corev1.Event) (*corev1.Event, error) {
	return Events.Create(s.ctx, s.c, e)
}

func (s eventSink) Update(e *corev1.Event) (*corev1.Event, error) {
	return Events.Update(s.ctx, s.c, e)
}

func (s eventSink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	return typed[*corev1.Event](s.c.Patch(s.ctx, Events.GVR, e.Namespace, e.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}))
}

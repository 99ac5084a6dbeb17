package streams

import (
	"fmt"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// query reads the parameters of a stream as the API reads options; the first that is malformed is the error.
type query struct {
	values url.Values
	err    error
}

// read converts the values of a parameter that is there.
func read[T any](q *query, name string, convert func(*[]string, *T, conversion.Scope) error) (out T) {
	values, there := q.values[name]
	if !there || q.err != nil {
		return out
	}
	q.err = convert(&values, &out, nil)
	return out
}

func (q *query) yes(name string) bool { return read(q, name, runtime.Convert_Slice_string_To_bool) }

func (q *query) number(name string) *int64 {
	return read(q, name, runtime.Convert_Slice_string_To_Pointer_int64)
}

func (q *query) time(name string) *metav1.Time {
	return read(q, name, metav1.Convert_Slice_string_To_Pointer_v1_Time)
}

func (q *query) text(name string) *string {
	if _, there := q.values[name]; !there {
		return nil
	}
	v := q.values.Get(name)
	return &v
}

func (q *query) ports() []int32 { return read(q, "ports", metav1.Convert_Slice_string_To_Slice_int32) }

// readOptions fills the options of exec, attach, port-forward or log from a query.
func readOptions(values url.Values, into runtime.Object) error {
	q := &query{values: values}
	switch o := into.(type) {
	case *corev1.PodExecOptions:
		o.Stdin, o.Stdout, o.Stderr, o.TTY = q.yes("stdin"), q.yes("stdout"), q.yes("stderr"), q.yes("tty")
		o.Container, o.Command = values.Get("container"), values["command"]
	case *corev1.PodAttachOptions:
		o.Stdin, o.Stdout, o.Stderr, o.TTY = q.yes("stdin"), q.yes("stdout"), q.yes("stderr"), q.yes("tty")
		o.Container = values.Get("container")
	case *corev1.PodPortForwardOptions:
		o.Ports = q.ports()
	case *corev1.PodLogOptions:
		o.Container, o.Stream = values.Get("container"), q.text("stream")
		o.Follow, o.Previous, o.Timestamps = q.yes("follow"), q.yes("previous"), q.yes("timestamps")
		o.SinceSeconds, o.TailLines, o.LimitBytes = q.number("sinceSeconds"), q.number("tailLines"), q.number("limitBytes")
		o.SinceTime = q.time("sinceTime")
	default:
		return fmt.Errorf("there are no options of type %T", into)
	}
	return q.err
}

package streams

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// query reads the parameters of a stream; the first that is malformed is the error.
type query struct {
	values url.Values
	err    error
}

func (q *query) bad(name string, err error) {
	if q.err == nil {
		q.err = fmt.Errorf("invalid value %q of the parameter %s: %w", q.values.Get(name), name, err)
	}
}

func (q *query) yes(name string) bool {
	if q.values.Get(name) == "" {
		return false
	}
	v, err := strconv.ParseBool(q.values.Get(name))
	if err != nil {
		q.bad(name, err)
	}
	return v
}

func (q *query) number(name string) *int64 {
	if q.values.Get(name) == "" {
		return nil
	}
	v, err := strconv.ParseInt(q.values.Get(name), 10, 64)
	if err != nil {
		q.bad(name, err)
	}
	return &v
}

func (q *query) time(name string) *metav1.Time {
	if q.values.Get(name) == "" {
		return nil
	}
	v, err := time.Parse(time.RFC3339, q.values.Get(name))
	if err != nil {
		q.bad(name, err)
	}
	return &metav1.Time{Time: v}
}

func (q *query) text(name string) *string {
	if q.values.Get(name) == "" {
		return nil
	}
	v := q.values.Get(name)
	return &v
}

func (q *query) ports() []int32 {
	var all []int32
	for _, text := range q.values["ports"] {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			q.bad("ports", err)
		}
		all = append(all, int32(n))
	}
	return all
}

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

package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/logs"
	"hyperkube/internal/node/spec"
)

// containerLogs answers GET /containerLogs/{namespace}/{pod}/{container}.
func (s *server) containerLogs(w http.ResponseWriter, r *http.Request) {
	opts, previous, stream, err := logOptions(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	pod, seen, ok := s.find(w, r)
	if !ok {
		return
	}
	name := r.PathValue("container")
	if spec.Find(&pod.Spec, name) == nil {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", name, pod.Namespace+"_"+pod.Name), http.StatusNotFound)
		return
	}
	c, err := logContainer(pod, seen, name, previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := &flushing{w: w}
	if stream != "Stderr" {
		opts.Stdout = out
	}
	if stream != "Stdout" {
		opts.Stderr = out
	}
	opts.Running = func() bool {
		for _, k := range s.Pods.Seen(pod.UID).Running() {
			if k.Id == c.Id {
				return true
			}
		}
		return false
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if opts.Follow {
		out.flush()
	}
	err = logs.Read(r.Context(), c.LogPath, opts)
	switch {
	case err == nil || r.Context().Err() != nil:
	case errors.Is(err, fs.ErrNotExist) && !out.wrote:
		// A container that wrote nothing yet, or whose runtime does not keep logs: nothing to show.
	case !out.wrote:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		fmt.Fprintf(out, "failed to read the log: %v\n", err)
	}
}

// logContainer is the container whose log is meant, by the state of the pod's status.
func logContainer(pod *corev1.Pod, seen *cri.Pod, name string, previous bool) (*cri.Container, error) {
	if previous {
		if c := seen.Previous(name); c != nil {
			return c, nil
		}
		if c := seen.Newest(name); c != nil && c.Exited() && waiting(pod, name) != nil {
			return c, nil // it waits for its restart, so what ended is the previous one
		}
		return nil, fmt.Errorf("previous terminated container %q in pod %q not found", name, pod.Name)
	}
	if c := seen.Newest(name); c != nil {
		return c, nil
	}
	if w := waiting(pod, name); w != nil {
		text := w.Reason
		if w.Reason == "ErrImagePull" || w.Reason == "ImagePullBackOff" {
			text = "trying and failing to pull image"
			if w.Reason == "ErrImagePull" {
				text = "image can't be pulled"
			}
		}
		return nil, fmt.Errorf("container %q in pod %q is waiting to start: %s", name, pod.Name, text)
	}
	return nil, fmt.Errorf("container %q in pod %q is not available", name, pod.Name)
}

func waiting(pod *corev1.Pod, name string) *corev1.ContainerStateWaiting {
	for _, l := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range l {
			if l[i].Name == name {
				return l[i].State.Waiting
			}
		}
	}
	return nil
}

func logOptions(q url.Values) (o logs.Options, previous bool, stream string, err error) {
	flag := func(name string) (v bool) {
		if s := q.Get(name); s != "" && err == nil {
			if v, err = strconv.ParseBool(s); err != nil {
				err = fmt.Errorf("invalid %s: %w", name, err)
			}
		}
		return v
	}
	number := func(name string, least int64) *int64 {
		s := q.Get(name)
		if s == "" || err != nil {
			return nil
		}
		n, bad := strconv.ParseInt(s, 10, 64)
		if bad != nil || n < least {
			err = fmt.Errorf("invalid %s %q: must be a number not below %d", name, s, least)
			return nil
		}
		return &n
	}
	o.Follow, o.Timestamps, previous = flag("follow"), flag("timestamps"), flag("previous")
	o.Tail, o.Limit = number("tailLines", 0), number("limitBytes", 1)
	if n := number("sinceSeconds", 1); n != nil {
		o.Since = time.Now().Add(-time.Duration(*n) * time.Second)
	}
	if t := q.Get("sinceTime"); t != "" && err == nil {
		if o.Since, err = time.Parse(time.RFC3339, t); err != nil {
			err = fmt.Errorf("invalid sinceTime: %w", err)
		}
	}
	switch stream = q.Get("stream"); stream {
	case "", "All", "Stdout", "Stderr":
	default:
		err = fmt.Errorf("invalid stream %q: must be All, Stdout or Stderr", stream)
	}
	return o, previous, stream, err
}

// flushing sends every write at once.
type flushing struct {
	w     http.ResponseWriter
	wrote bool
}

func (f *flushing) Write(b []byte) (int, error) {
	f.wrote = true
	n, err := f.w.Write(b)
	f.flush()
	return n, err
}

func (f *flushing) flush() {
	if fl, ok := f.w.(http.Flusher); ok {
		fl.Flush()
	}
}

var _ io.Writer = (*flushing)(nil)

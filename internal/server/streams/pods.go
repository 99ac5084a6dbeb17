package streams

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"hyperkube/internal/client"
	"hyperkube/internal/server/request"
)

// Exec runs a command in a container.
func (s *Streams) Exec(w http.ResponseWriter, r *http.Request, req *request.Request) {
	o := &corev1.PodExecOptions{}
	if !s.options(w, r, o) {
		return
	}
	s.container(w, r, req, o, "exec", o.Container, streamQuery(o.Stdin, o.Stdout, o.Stderr, o.TTY, o.Command))
}

// Attach joins the streams of a running container.
func (s *Streams) Attach(w http.ResponseWriter, r *http.Request, req *request.Request) {
	o := &corev1.PodAttachOptions{}
	if !s.options(w, r, o) {
		return
	}
	s.container(w, r, req, o, "attach", o.Container, streamQuery(o.Stdin, o.Stdout, o.Stderr, o.TTY, nil))
}

func streamQuery(in, out, err, tty bool, command []string) url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"input": in, "output": out, "error": err, "tty": tty} {
		if on {
			q.Set(name, "1")
		}
	}
	for _, c := range command {
		q.Add("command", c)
	}
	return q
}

// options reads the options of a stream from the query.
func (s *Streams) options(w http.ResponseWriter, r *http.Request, into runtime.Object) bool {
	if err := readOptions(r.URL.Query(), into); err != nil {
		s.Fail(w, r, apierrors.NewBadRequest(err.Error()))
		return false
	}
	return true
}

// placed refuses a pod that has no node.
func placed(pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return nil
}

func (s *Streams) container(w http.ResponseWriter, r *http.Request, req *request.Request, options any, verb, name string, q url.Values) {
	ctx := r.Context()
	if err := s.admit(ctx, req, options); err != nil {
		s.Fail(w, r, err)
		return
	}
	pod, err := client.Pods.Get(ctx, s.Client, req.Namespace, req.Name)
	if err == nil {
		name, err = containerName(pod, name)
	}
	if err == nil {
		err = placed(pod)
	}
	if err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed) {
		err = apierrors.NewBadRequest("cannot exec into a container in a completed pod; current phase is " + string(pod.Status.Phase))
	}
	var host string
	if err == nil {
		host, err = s.nodeConnection(ctx, pod.Spec.NodeName)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	to := &url.URL{Scheme: "https", Host: host, Path: fmt.Sprintf("/%s/%s/%s/%s", verb, pod.Namespace, pod.Name, name), RawQuery: q.Encode()}
	s.pass(w, r, to, s.kubelets, true, false)
}

// defaultContainer is the annotation by which a pod names the container that commands mean (kubectl's documentation).
const defaultContainer = "kubectl.kubernetes.io/default-container"

// containerName checks or chooses the container that a request means.
func containerName(pod *corev1.Pod, name string) (string, error) {
	var all, inits []string
	for _, c := range pod.Spec.Containers {
		all = append(all, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		inits = append(inits, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		inits = append(inits, c.Name)
	}
	switch {
	case name == "" && len(all) == 1:
		return all[0], nil
	case name == "" && pod.Annotations[defaultContainer] != "":
		return containerName(pod, pod.Annotations[defaultContainer])
	case name == "":
		text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(all, " "))
		if len(inits) > 0 {
			text += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(inits, " "))
		}
		return "", apierrors.NewBadRequest(text)
	}
	for _, c := range append(all, inits...) {
		if c == name {
			return name, nil
		}
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}

// PortForward carries connections to ports of a pod.
func (s *Streams) PortForward(w http.ResponseWriter, r *http.Request, req *request.Request) {
	o := &corev1.PodPortForwardOptions{}
	if !s.options(w, r, o) {
		return
	}
	ctx := r.Context()
	err := s.admit(ctx, req, o)
	var pod *corev1.Pod
	if err == nil {
		pod, err = client.Pods.Get(ctx, s.Client, req.Namespace, req.Name)
	}
	if err == nil {
		err = placed(pod)
	}
	var host string
	if err == nil {
		host, err = s.nodeConnection(ctx, pod.Spec.NodeName)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	q := url.Values{}
	for _, p := range o.Ports {
		q.Add("port", strconv.Itoa(int(p)))
	}
	to := &url.URL{Scheme: "https", Host: host, Path: fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name), RawQuery: q.Encode()}
	s.pass(w, r, to, s.kubelets, true, false)
}

// Log gives what a container wrote.
func (s *Streams) Log(w http.ResponseWriter, r *http.Request, req *request.Request) {
	o := &corev1.PodLogOptions{}
	if !s.options(w, r, o) {
		return
	}
	ctx := r.Context()
	if errs := validLogOptions(o); len(errs) > 0 {
		s.Fail(w, r, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("PodLogOptions").GroupKind(), req.Name, errs))
		return
	}
	pod, err := client.Pods.Get(ctx, s.Client, req.Namespace, req.Name)
	name := o.Container
	if err == nil {
		name, err = containerName(pod, name)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	if pod.Spec.NodeName == "" {
		w.WriteHeader(http.StatusNoContent) // not placed yet: there is no log, and that is no error
		return
	}
	host, err := s.nodeConnection(ctx, pod.Spec.NodeName)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	to := &url.URL{Scheme: "https", Host: host, Path: fmt.Sprintf("/containerLogs/%s/%s/%s", pod.Namespace, pod.Name, name), RawQuery: logQuery(o).Encode()}
	if wsstream.IsWebSocketRequest(r) {
		s.logMessages(w, r, pod.Name, to)
		return
	}
	s.pass(w, r, to, explained{s.kubelets, pod.Name}, false, false)
}

func validLogOptions(o *corev1.PodLogOptions) field.ErrorList {
	var errs field.ErrorList
	if o.TailLines != nil && *o.TailLines < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *o.TailLines, "must be greater than or equal to 0"))
	}
	if o.Stream != nil { // of a feature that is not on in this version of the API
		errs = append(errs, field.Forbidden(field.NewPath("stream"), "may not be specified"))
	}
	if o.LimitBytes != nil && *o.LimitBytes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *o.LimitBytes, "must be greater than 0"))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, "must be greater than 0"))
	}
	return errs
}

func logQuery(o *corev1.PodLogOptions) url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"follow": o.Follow, "previous": o.Previous, "timestamps": o.Timestamps} {
		if on {
			q.Set(name, "true")
		}
	}
	for name, n := range map[string]*int64{"sinceSeconds": o.SinceSeconds, "tailLines": o.TailLines, "limitBytes": o.LimitBytes} {
		if n != nil {
			q.Set(name, strconv.FormatInt(*n, 10))
		}
	}
	if o.SinceTime != nil {
		q.Set("sinceTime", o.SinceTime.Format(metav1.RFC3339Micro))
	}
	return q
}

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/request"
)

// componentTimeout bounds the question to one component.
const componentTimeout = 5 * time.Second

func (s *Server) componentStatus(ctx context.Context, req *request.Request, _ metav1.GetOptions) (object.Object, error) {
	if req.Name == "etcd-0" {
		return s.etcdStatus(ctx), nil
	}
	url, ok := s.cfg.Components[req.Name]
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("componentstatuses"), req.Name)
	}
	return askComponent(ctx, req.Name, url), nil
}

// componentStatuses asks every component at the same time.
func (s *Server) componentStatuses(ctx context.Context, _ *request.Request, _ metav1.ListOptions) (*client.List, error) {
	out := make(chan object.Object)
	for name, url := range s.cfg.Components {
		go func() { out <- askComponent(ctx, name, url) }()
	}
	l := &client.List{Items: []client.Object{s.etcdStatus(ctx)}}
	for range s.cfg.Components {
		l.Items = append(l.Items, <-out)
	}
	sort.Slice(l.Items, func(i, j int) bool { return l.Items[i].GetName() < l.Items[j].GetName() })
	return l, nil
}

func (s *Server) etcdStatus(ctx context.Context) object.Object {
	ctx, cancel := context.WithTimeout(ctx, componentTimeout)
	defer cancel()
	return newComponentStatus("etcd-0", "ok", s.store.Writable(ctx))
}

// askComponent reads a component's /healthz. Its certificate is its own and proves nothing on the loopback, nor is anything
// secret sent, so that it is not verified.
func askComponent(ctx context.Context, name, url string) object.Object {
	ctx, cancel := context.WithTimeout(ctx, componentTimeout)
	defer cancel()
	text, err := fetchHealth(ctx, url)
	return newComponentStatus(name, text, err)
}

func fetchHealth(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", res.Status, text)
	}
	return text, nil
}

func newComponentStatus(name, text string, err error) object.Object {
	c := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: text}
	if err != nil {
		c.Status, c.Message, c.Error = corev1.ConditionFalse, err.Error(), err.Error()
	}
	cs := &corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: name}, Conditions: []corev1.ComponentCondition{c}}
	cs.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ComponentStatus"))
	return cs
}

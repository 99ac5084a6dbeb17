package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/servertest"
)

func TestPanicsAreAnswered(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) {
		c.Handlers = map[string]http.Handler{"/boom": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })}
	})
	w := newWeb(t, api.REST)
	for range 2 {
		if res, body := w.do("GET", "/boom", ""); res.StatusCode != 500 || !bytes.Contains(body, []byte("InternalError")) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	api := servertest.Start(t, func(c *server.Config) {
		c.MaxInFlight = 1
		c.Handlers = map[string]http.Handler{"/slow": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(enter); <-leave })}
	})
	w := newWeb(t, api.REST)
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, err := http.NewRequest("GET", w.host+"/slow", nil)
		if err != nil {
			return
		}
		if res, err := w.h.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-enter
	res, body := w.do("GET", "/api/v1/nodes", "")
	if res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if res, body := w.do("POST", cmPath, `{"metadata":{"name":"a"}}`); res.StatusCode != 201 {
		t.Errorf("writes have a limit of their own: %d %s", res.StatusCode, body)
	}
	close(leave)
	<-done
}

func TestAuthorizationOnBothDoors(t *testing.T) {
	api := servertest.Start(t, func(c *server.Config) {
		c.Authorizer = authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if slices.Contains(a.GetUser().GetGroups(), user.SystemPrivilegedGroup) || a.GetVerb() == "get" {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "no rule", nil
		})
	})
	want := `configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default": no rule`
	res, body := newWeb(t, api.REST).do("GET", cmPath, "")
	if res.StatusCode != 403 || !strings.Contains(strings.ReplaceAll(string(body), `\"`, `"`), want) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	c := api.Direct(&user.DefaultInfo{Name: "system:anonymous"})
	_, err := c.List(t.Context(), client.ConfigMaps.GVR, "default", metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || err.Error() != want {
		t.Error(err)
	}
}

// TestLookingIsNotEntering: the right to get pods/exec alone opens no stream, though a WebSocket begins with a GET.
func TestLookingIsNotEntering(t *testing.T) {
	may := "get"
	reached := ""
	connect := server.SubresourceHandler{Connect: func(_ http.ResponseWriter, _ *http.Request, req *request.Request) { reached += req.Subresource + " " }}
	api := servertest.Start(t, func(c *server.Config) {
		c.Authorizer = authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if slices.Contains(a.GetUser().GetGroups(), user.SystemPrivilegedGroup) || strings.Contains(may, a.GetVerb()) {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		})
		c.Subresources = map[schema.GroupResource]map[string]server.SubresourceHandler{
			{Resource: "pods"}: {"exec": connect, "attach": connect, "portforward": connect, "log": connect},
		}
	})
	w := newWeb(t, api.REST)
	const pod = "/api/v1/namespaces/default/pods/p/"
	for _, sub := range []string{"exec", "attach", "portforward"} {
		want := `pods \"p\" is forbidden: User \"system:anonymous\" cannot create resource \"pods/` + sub
		if res, body := w.do("GET", pod+sub, ""); res.StatusCode != 403 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", sub, res.StatusCode, body)
		}
	}
	w.do("GET", pod+"log", "")
	if reached != "log " {
		t.Errorf("by looking one comes to %q", reached)
	}
	may = "get create"
	for _, sub := range []string{"exec", "attach", "portforward"} {
		w.do("GET", pod+sub, "")
	}
	if reached != "log exec attach portforward " {
		t.Errorf("with both rights one comes to %q", reached)
	}
}

// tracer is an admission plugin that tells what it saw.
type tracer struct {
	mu   sync.Mutex
	seen []string
}

func (*tracer) Name() string { return "Tracer" }

func (p *tracer) note(phase string, a *admission.Attributes) {
	if a.GVR.Resource != "configmaps" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprint(phase, " ", a.Operation, " ", a.Name, " old:", a.OldObject != nil))
}

func (p *tracer) Mutate(_ context.Context, a *admission.Attributes) error {
	p.note("mutate", a)
	if cm, ok := a.Object.(*corev1.ConfigMap); ok {
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		cm.Annotations["seen"] = "yes"
	}
	return nil
}

func (p *tracer) Validate(_ context.Context, a *admission.Attributes) error {
	p.note("validate", a)
	if cm, ok := a.Object.(*corev1.ConfigMap); ok && cm.Data["bad"] != "" {
		return errors.New("bad data")
	}
	return nil
}

func TestAdmissionAndHooks(t *testing.T) {
	p := &tracer{}
	chain, err := admission.NewChain(p)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := map[string]int{}
	api := servertest.Start(t, func(c *server.Config) {
		c.Admission = chain
		c.Hooks = map[schema.GroupResource]server.WriteHook{{Resource: "configmaps"}: func(_ context.Context, obj, old object.Object, dryRun bool) (func(), func(), error) {
			count := func(what string) func() {
				return func() { mu.Lock(); defer mu.Unlock(); taken[what]++ }
			}
			if obj == nil {
				return count("freed"), count("not freed"), nil
			}
			return count("kept"), count("given back"), nil
		}}
	})
	w := newWeb(t, api.REST)
	steps := []struct {
		method, path, body, contentType string
		code                            int
	}{
		{"POST", cmPath, `{"metadata":{"generateName":"a-"},"data":{"bad":"1"}}`, "", 403},
		{"POST", cmPath, `{"metadata":{"name":"a"}}`, "", 201},
		{"POST", cmPath, `{"metadata":{"name":"a"}}`, "", 409},
		{"POST", cmPath + "?dryRun=All", `{"metadata":{"name":"b"}}`, "", 201},
		{"PATCH", cmPath + "/a", `{"data":{"x":"1"}}`, "application/merge-patch+json", 200},
		{"DELETE", cmPath + "/a", "", "", 200},
	}
	for _, s := range steps {
		if res, body := w.do(s.method, s.path, s.body, "Content-Type", s.contentType); res.StatusCode != s.code {
			t.Fatalf("%s %s: %d %s", s.method, s.body, res.StatusCode, body)
		}
	}
	want := []string{
		"mutate CREATE  old:false", "validate CREATE  old:false",
		"mutate CREATE a old:false", "validate CREATE a old:false",
		"mutate CREATE a old:false", "validate CREATE a old:false",
		"mutate CREATE b old:false", "validate CREATE b old:false",
		"mutate UPDATE a old:true", "validate UPDATE a old:true",
		"mutate DELETE a old:true", "validate DELETE a old:true",
	}
	if !slices.Equal(p.seen, want) {
		t.Errorf("admission saw\n%s", strings.Join(p.seen, "\n"))
	}
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(taken); got != "map[freed:1 given back:2 kept:2]" {
		t.Error(got)
	}
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	api, stop := servertest.StartStoppable(t, func(c *server.Config) {
		c.Handlers = map[string]http.Handler{"/slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(enter)
			<-leave
			if r.Context().Err() != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("done"))
		})}
	})
	w := newWeb(t, api.REST)
	open := func(path string) *http.Response {
		res, err := w.h.Get(w.host + path)
		if err != nil {
			t.Error(err)
			return &http.Response{Body: http.NoBody}
		}
		return res
	}
	watching := open(cmPath + "?watch=1")
	type answer struct {
		code int
		body string
	}
	slow := make(chan answer, 1)
	go func() {
		res := open("/slow")
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		slow <- answer{res.StatusCode, string(body)}
	}()
	<-enter
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	_, _ = io.Copy(io.Discard, watching.Body) // a watch ends at once
	watching.Body.Close()
	select {
	case <-stopped:
		t.Error("the server did not wait")
	default:
	}
	close(leave)
	if a := <-slow; a.code != 200 || a.body != "done" {
		t.Errorf("%d %s", a.code, a.body)
	}
	<-stopped
}

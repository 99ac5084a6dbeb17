package fairness

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server/request"
)

func limited(name string, shares, lend int32, borrow *int32, queuing *flowcontrolv1.QueuingConfiguration) *flowcontrolv1.PriorityLevelConfiguration {
	response := flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}
	if queuing != nil {
		response = flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: queuing}
	}
	return &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
		Type: flowcontrolv1.PriorityLevelEnablementLimited,
		Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: &shares, LendablePercent: &lend,
			BorrowingLimitPercent: borrow, LimitResponse: response}}}
}

func forUsers(name, level string, precedence int32, users ...string) *flowcontrolv1.FlowSchema {
	s := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: level}, MatchingPrecedence: precedence,
		DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType}}}
	rule := flowcontrolv1.PolicyRulesWithSubjects{ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
		Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"*"}}}}
	for _, u := range users {
		rule.Subjects = append(rule.Subjects, flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: u}})
	}
	s.Spec.Rules = append(s.Spec.Rules, rule)
	return s
}

func ask(who string, groups ...string) *request.Request {
	return &request.Request{
		Info: request.Info{IsResourceRequest: true, Verb: "get", Resource: "pods", Namespace: "default", APIVersion: "v1"},
		User: &user.DefaultInfo{Name: who, Groups: append(groups, user.AllAuthenticated)},
	}
}

func TestMatch(t *testing.T) {
	f := New(Config{Seats: 600, QueueWait: time.Second})
	for _, c := range []struct {
		name string
		req  *request.Request
		want string
	}{
		{"admin", ask("admin", user.SystemPrivilegedGroup), "exempt"},
		{"kubelet", ask("system:node:a", user.NodesGroup), "system-nodes"},
		{"controller manager", ask("system:kube-controller-manager"), "kube-controller-manager"},
		{"service account of the system", ask("system:serviceaccount:kube-system:x", "system:serviceaccounts", "system:serviceaccounts:kube-system"), "kube-system-service-accounts"},
		{"service account", ask("system:serviceaccount:default:x", "system:serviceaccounts"), "service-accounts"},
		{"user", ask("jane"), "global-default"},
		{"probe", &request.Request{Info: request.Info{Verb: "get", Path: "/healthz"}, User: &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}}, "probes"},
		{"node's lease", &request.Request{Info: request.Info{IsResourceRequest: true, Verb: "update", APIGroup: "coordination.k8s.io", Resource: "leases", Namespace: "kube-node-lease"},
			User: &user.DefaultInfo{Name: "system:node:a", Groups: []string{user.NodesGroup, user.AllAuthenticated}}}, "system-node-high"},
	} {
		if got := f.match(c.req).name; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// queues is a level that lets wait.
func queues(n, hand, length int32) *flowcontrolv1.QueuingConfiguration {
	return &flowcontrolv1.QueuingConfiguration{Queues: n, HandSize: hand, QueueLengthLimit: length}
}

// TestQueuing holds a level of four seats to its limits: what is too much waits, what waits too long or is too much for the queues is refused.
func TestQueuing(t *testing.T) {
	f := New(Config{Seats: 4, QueueWait: 50 * time.Millisecond})
	f.configure([]*flowcontrolv1.FlowSchema{forUsers("all", "small", 10, "*")}, []*flowcontrolv1.PriorityLevelConfiguration{limited("small", 100000, 0, nil, queues(1, 1, 2))})
	var done []func()
	for range 4 {
		d, err := f.Admit(t.Context(), ask("jane"))
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d)
	}
	if _, err := f.Admit(t.Context(), ask("jane")); !apierrors.IsTooManyRequests(err) {
		t.Errorf("after the time to wait: %v", err)
	}
	if s, ok := apierrors.SuggestsClientDelay(tooMany()); !ok || s != 1 {
		t.Errorf("the refusal tells to wait for %d s", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Admit(ctx, ask("jane")); !apierrors.IsTooManyRequests(err) {
		t.Errorf("of one that is gone: %v", err)
	}
	f.cfg.QueueWait = time.Minute
	served := make(chan error, 2)
	for range 2 {
		go func() {
			d, err := f.Admit(t.Context(), ask("jane"))
			if err == nil {
				d()
			}
			served <- err
		}()
	}
	waiting := func() int {
		f.dispatch.mu.Lock()
		defer f.dispatch.mu.Unlock()
		return f.dispatch.levels["small"].waiting
	}
	for end := time.Now().Add(30 * time.Second); waiting() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if _, err := f.Admit(t.Context(), ask("jane")); !apierrors.IsTooManyRequests(err) {
		t.Errorf("a third in a queue for two: %v", err)
	}
	for _, d := range done {
		d()
	}
	for range 2 {
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	l := f.dispatch.levels["small"]
	if l.used != 0 || l.running != 0 || l.waiting != 0 {
		t.Errorf("at the end: %+v", l)
	}
}

// TestBorrowing lets a level have others' idle seats and gives them back to their owner first.
func TestBorrowing(t *testing.T) {
	f := New(Config{Seats: 20, QueueWait: time.Minute})
	f.configure([]*flowcontrolv1.FlowSchema{forUsers("rich", "rich", 10, "rich"), forUsers("poor", "poor", 20, "poor")}, []*flowcontrolv1.PriorityLevelConfiguration{
		limited("rich", 5000000, 50, nil, queues(8, 2, 50)), limited("poor", 5000000, 0, ptr.To[int32](40), queues(8, 2, 50))})
	take := func(who string) (func(), bool) {
		r := f.match(ask(who))
		ticket, refused := f.dispatch.enter(r.level, flow{r.name, who}, 1, ask(who))
		if refused != "" || ticket.waits() {
			return nil, false
		}
		return func() { f.dispatch.leave(ticket) }, true
	}
	got := 0
	for range 20 {
		if _, ok := take("poor"); ok {
			got++
		}
	}
	// Ten of its own, and four more, of the five that the other lends.
	if got != 14 {
		t.Errorf("the poor level has %d seats", got)
	}
	got = 0
	for range 20 {
		if _, ok := take("rich"); ok {
			got++
		}
	}
	if got != 5 { // what was not lent out, but for the one seat of the level that is for everybody else
		t.Errorf("the rich level has %d seats", got)
	}
}

// TestFlows has a user who floods the server hold nobody else up: a second user's requests are served among the first, not after them.
func TestFlows(t *testing.T) {
	now := time.Unix(0, 0)
	d := dispatcher{now: func() time.Time { return now }, total: 2, levels: map[string]*level{}}
	p := limited("l", 1, 0, nil, queues(64, 4, 1000))
	l := d.configure(map[string]*flowcontrolv1.PriorityLevelConfiguration{"l": p})["l"]
	var flood, calm []*ticket
	for range 200 {
		ticket, why := d.enter(l, flow{"s", "flood"}, 1, ask("flood"))
		if why != "" {
			t.Fatal(why)
		}
		flood = append(flood, ticket)
	}
	for range 5 {
		ticket, why := d.enter(l, flow{"s", "calm"}, 1, ask("calm"))
		if why != "" {
			t.Fatal(why)
		}
		calm = append(calm, ticket)
	}
	running := func(tickets []*ticket) (out []*ticket) {
		for _, t := range tickets {
			if t.call == nil {
				out = append(out, t)
				continue
			}
			select {
			case <-t.call:
				out = append(out, t)
			default:
			}
		}
		return out
	}
	left := map[*ticket]bool{}
	rounds := 0
	for ; len(running(calm)) < len(calm); rounds++ {
		if rounds > 100 {
			t.Fatal("the calm flow is not served")
		}
		now = now.Add(time.Second)
		for _, ticket := range append(running(flood), running(calm)...) {
			if !left[ticket] {
				left[ticket] = true
				d.leave(ticket)
			}
		}
	}
	if rounds > 20 {
		t.Errorf("the calm flow's five requests waited for %d rounds of the other's", rounds)
	}
}

// TestDeal gives each flow a hand of different queues, the same each time.
func TestDeal(t *testing.T) {
	l := &level{queues: make([]queue, 16), hand: 5}
	for n := range 100 {
		f := flow{"s", fmt.Sprint(n)}
		seen := map[int]bool{}
		for range l.hand {
			q := l.deal(f)
			if seen[q] {
				t.Fatalf("queue %d twice in a hand", q)
			}
			seen[q] = true
			l.queues[q].all++ // so that the next is another
		}
		clear(l.queues)
	}
}

// TestRace uses everything at once.
func TestRace(t *testing.T) {
	f := New(Config{Seats: 8, QueueWait: time.Minute})
	s, p := defaults()
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			for range 200 {
				done, err := f.Admit(t.Context(), ask(fmt.Sprint("user", n)))
				if err != nil {
					t.Error(err)
					return
				}
				done()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			f.configure(s, p)
		}
	})
	wg.Wait()
	for _, l := range f.dispatch.levels {
		if l.used != 0 || l.running != 0 || l.waiting != 0 {
			t.Errorf("%s at the end: %d used, %d running, %d waiting", l.name, l.used, l.running, l.waiting)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	f := New(Config{Seats: 600, QueueWait: time.Minute})
	req := ask("system:serviceaccount:default:x", "system:serviceaccounts")
	b.ReportAllocs()
	for b.Loop() {
		done, err := f.Admit(context.Background(), req)
		if err != nil {
			b.Fatal(err)
		}
		done()
	}
}

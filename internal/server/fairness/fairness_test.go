package fairness

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
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

// TestBorrowing has a busy level get the seats that an idle one lends when they are divided anew, and the idle one its own back after that.
func TestBorrowing(t *testing.T) {
	now := time.Unix(1000, 0)
	f := New(Config{Seats: 20, QueueWait: time.Minute, Now: func() time.Time { return now }})
	f.configure([]*flowcontrolv1.FlowSchema{forUsers("rich", "rich", 10, "rich"), forUsers("poor", "poor", 20, "poor")}, []*flowcontrolv1.PriorityLevelConfiguration{
		limited("rich", 5000000, 50, nil, queues(8, 2, 50)), limited("poor", 5000000, 0, ptr.To[int32](40), queues(8, 2, 50))})
	var held []*ticket
	take := func(who string, n int) (got int) {
		r := f.match(ask(who))
		for range n {
			ticket, _, refused := f.dispatch.enter(r.level, flow{r.name, who}, work{first: 1}, ask(who))
			if refused != "" {
				t.Fatal(refused)
			}
			held = append(held, ticket)
		}
		return f.dispatch.levels[who].running
	}
	if got := take("poor", 20); got != 10 {
		t.Errorf("at first the poor level has %d seats, want its own ten", got)
	}
	pass := func() {
		now = now.Add(adjustPeriod)
		f.dispatch.mu.Lock()
		defer f.dispatch.mu.Unlock()
		f.dispatch.adjust(now)
	}
	pass()
	if got := f.dispatch.levels["poor"].running; got != 14 { // it may borrow four
		t.Errorf("the poor level has %d seats, want 14", got)
	}
	if got := f.dispatch.levels["rich"].current; got != 6 { // and the one seat more that rounding up makes
		t.Errorf("the rich level may have %d seats, want what it does not lend", got)
	}
	take("rich", 20)
	pass()
	if rich, poor := f.dispatch.levels["rich"], f.dispatch.levels["poor"]; rich.current != 10 || poor.current != 10 {
		t.Errorf("with all busy the rich level may have %d seats and the poor one %d", rich.current, poor.current)
	}
	for _, ticket := range held {
		if !f.dispatch.giveUp(ticket, cancelled) {
			f.dispatch.leave(ticket)
		}
	}
}

// TestAlarm serves those that wait when seats become free by a new division, though nobody comes or goes.
func TestAlarm(t *testing.T) {
	start := time.Now().Add(50*time.Millisecond - adjustPeriod) // the division is due in a moment
	d := dispatcher{now: time.Now, total: 4, levels: map[string]*level{}, since: start}
	all := map[string]*flowcontrolv1.PriorityLevelConfiguration{"a": limited("a", 1, 100, nil, queues(1, 1, 5)), "b": limited("b", 1, 100, nil, queues(1, 1, 5))}
	a := d.configure(all)["a"]
	var last *ticket
	for range 4 {
		var why string
		if last, _, why = d.enter(a, flow{"s", "f"}, work{first: 1}, ask("f")); why != "" {
			t.Fatal(why)
		}
	}
	if !last.waits() {
		t.Fatal("it has more seats than its own at once")
	}
	select {
	case <-last.call:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody divided the seats")
	}
}

// TestShare divides within bounds.
func TestShare(t *testing.T) {
	for name, c := range map[string]struct {
		total  float64
		claims []claim
		want   []float64
	}{
		"by targets":      {30, []claim{{0, 100, 10}, {0, 100, 20}}, []float64{10, 20}},
		"more than asked": {60, []claim{{0, 100, 10}, {0, 100, 20}}, []float64{20, 40}},
		"less than asked": {15, []claim{{0, 100, 10}, {0, 100, 20}}, []float64{5, 10}},
		"least":           {30, []claim{{20, 100, 1}, {0, 100, 10}}, []float64{20, 10}},
		"most":            {30, []claim{{0, 5, 10}, {0, 100, 10}}, []float64{5, 25}},
		"too much":        {10, []claim{{10, 100, 10}, {30, 100, 30}}, []float64{2.5, 7.5}},
		"something left":  {100, []claim{{0, 10, 5}, {0, 20, 5}}, []float64{10, 20}},
		"nobody wants":    {10, []claim{{1, 10, 0}, {2, 10, 0}}, []float64{1, 2}},
		"nobody":          {10, nil, []float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := share(c.total, c.claims)
			if len(got) != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i := range got {
				if math.Abs(got[i]-c.want[i]) > 1e-6 {
					t.Errorf("%v, want %v", got, c.want)
				}
			}
		})
	}
}

// TestDemand measures what a level needed.
func TestDemand(t *testing.T) {
	now := time.Unix(0, 0)
	d := demand{began: now, at: now}
	d.set(now, 4)
	d.set(now.Add(5*time.Second), 0)
	average, deviation, most := d.end(now.Add(10 * time.Second))
	if average != 2 || deviation != 2 || most != 4 {
		t.Errorf("average %v, deviation %v, most %v", average, deviation, most)
	}
	var s shareStats
	s.update(1, average, deviation, most)
	if s.smoothed != 4 {
		t.Errorf("smoothed: %v", s.smoothed)
	}
	s.update(30, 0, 0, 0) // five minutes with nothing
	if s.smoothed < 1.9 || s.smoothed > 2.1 {
		t.Errorf("smoothed after five minutes: %v", s.smoothed)
	}
}

// TestEstimate judges lists by their objects and writes by their watchers.
func TestEstimate(t *testing.T) {
	objects, watching := 0, 0
	f := New(Config{Seats: 600, Objects: func(*request.Request) int { return objects }, Watchers: func(*request.Request) int { return watching }})
	r := f.match(ask("someone")) // 49 seats: one request may have 8
	for _, c := range []struct {
		verb              string
		objects, watchers int
		change            func(*request.Request)
		want              work
	}{
		{"get", 5000, 0, nil, work{first: 1}},
		{"list", 0, 0, nil, work{first: 1}},
		{"list", 101, 0, nil, work{first: 2}},
		{"list", 5000, 0, nil, work{first: 8}},
		{"list", 5000, 0, func(r *request.Request) { r.Limit = 500 }, work{first: 5}},
		{"list", 5000, 0, func(r *request.Request) { r.Limit, r.LabelSelector = 500, "a=b" }, work{first: 8}},
		{"list", 5000, 0, func(r *request.Request) { r.Name = "x" }, work{first: 1}},
		{"update", 0, 9, nil, work{first: 1}},
		{"update", 0, 11, nil, work{first: 1, last: 2, linger: 5 * time.Millisecond}},
		{"create", 0, 160, nil, work{first: 1, last: 8, linger: 10 * time.Millisecond}},
		{"create", 0, 160, func(r *request.Request) { r.IsResourceRequest = false }, work{first: 1}},
	} {
		objects, watching = c.objects, c.watchers
		req := ask("someone")
		req.Verb = c.verb
		if c.change != nil {
			c.change(req)
		}
		if got := f.estimate(req, r); got != c.want {
			t.Errorf("%s of %d objects, %d watchers: %+v, want %+v", c.verb, c.objects, c.watchers, got, c.want)
		}
	}
}

// TestLinger keeps the seats of a write that many watch for a while after its end.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{Seats: 600, Watchers: func(*request.Request) int { return 100000 }})
		defer f.queue.ShutDown()
		req := ask("someone")
		req.Verb = "create"
		done, err := f.Admit(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		used := func() int {
			f.dispatch.mu.Lock()
			defer f.dispatch.mu.Unlock()
			return f.dispatch.levels["global-default"].used
		}
		done()
		// 10,000 seats for 5 ms each are 8 seats for 6.25 s.
		for _, c := range []struct {
			pass time.Duration
			want int
		}{{0, 8}, {6 * time.Second, 8}, {time.Second, 0}} {
			time.Sleep(c.pass) // by the bubble's clock
			synctest.Wait()
			if got := used(); got != c.want {
				t.Errorf("%s later %d seats are taken, want %d", c.pass, got, c.want)
			}
		}
	})
}

// TestFlows has a user who floods the server hold nobody else up: a second user's requests are served among the first, not after them.
func TestFlows(t *testing.T) {
	now := time.Unix(0, 0)
	d := dispatcher{now: func() time.Time { return now }, total: 2, levels: map[string]*level{}, since: now}
	p := limited("l", 1, 0, nil, queues(64, 4, 1000))
	l := d.configure(map[string]*flowcontrolv1.PriorityLevelConfiguration{"l": p})["l"]
	var flood, calm []*ticket
	for range 200 {
		ticket, _, why := d.enter(l, flow{"s", "flood"}, work{first: 1}, ask("flood"))
		if why != "" {
			t.Fatal(why)
		}
		flood = append(flood, ticket)
	}
	for range 5 {
		ticket, _, why := d.enter(l, flow{"s", "calm"}, work{first: 1}, ask("calm"))
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

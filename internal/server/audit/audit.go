// Package audit tells who did what to the API, as events of audit.k8s.io/v1.
//
// # Life of an event
//
// [Log.Begin] is called when the user of a request is known. The first rule of the policy that matches decides the
// level; at level None there is no [Trail] and nothing more happens. A trail gathers what the level
// asks for and emits one event for each stage of the request that the policy does not omit: RequestReceived at once, ResponseStarted
// when the answer to a watch or stream begins, and at the end ResponseComplete, or Panic.
//
// # Where events go
//
// To a file, to a webhook, or both. In mode batch, events wait in a bounded buffer and are dropped, and counted as errors, when it is full: a
// slow receiver never slows requests. In mode blocking, the request waits until the event is written; in mode blocking-strict,
// it is refused where its reception cannot be logged. What is in the buffer at the end is written before [Log.Run] returns.
//
// Bodies are logged at the levels Request and RequestResponse only, headers and credentials never. All methods of a nil Log and a nil
// Trail do nothing, so that a server without audit pays nothing. Safe for concurrent use.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"hyperkube/internal/server/request"
)

// Config of a log. At least one of File and Webhook must be set to have one.
type Config struct {
	// PolicyFile has a Policy of audit.k8s.io/v1. Without one, nothing is logged.
	PolicyFile string
	File       *FileConfig
	Webhook    *WebhookConfig
}

// Log is the audit log of a server.
type Log struct {
	policy  *policy
	outlets []*outlet
	metrics *metrics
	now     func() time.Time
}

// New reads the policy and opens the outlets. It is nil where nothing would ever be logged.
func New(c Config) (*Log, error) {
	if c.File == nil && c.Webhook == nil {
		if c.PolicyFile != "" {
			_, err := readPolicy(c.PolicyFile) // a mistake is told also where it does no harm yet
			return nil, err
		}
		return nil, nil
	}
	if c.PolicyFile == "" {
		slog.Default().Warn("no audit events will be recorded: give --audit-policy-file", "component", "audit")
		return nil, nil
	}
	p, err := readPolicy(c.PolicyFile)
	if err != nil {
		return nil, err
	}
	l := &Log{policy: p, metrics: newMetrics(), now: time.Now}
	if c.File != nil {
		if err := l.add("log", c.File.Delivery, func() (sink, error) { return newFile(c.File) }); err != nil {
			return nil, err
		}
	}
	if c.Webhook != nil {
		if err := l.add("webhook", c.Webhook.Delivery, func() (sink, error) { return newWebhook(c.Webhook) }); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Log) add(plugin string, d Delivery, open func() (sink, error)) error {
	if err := d.check(plugin); err != nil {
		return err
	}
	s, err := open()
	if err != nil {
		return err
	}
	l.outlets = append(l.outlets, newOutlet(plugin, d, s, l.metrics))
	return nil
}

// Run delivers what is buffered until ctx ends and everything left has been written.
func (l *Log) Run(ctx context.Context) error {
	if l == nil {
		return nil
	}
	var wg sync.WaitGroup
	for _, o := range l.outlets {
		wg.Go(func() { o.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Origin is what an event tells of where a request came from.
type Origin struct {
	URI       string
	SourceIPs []string
	Received  time.Time
}

// Begin starts the trail of a request whose user is known; nil when nothing of it is to be logged. An error refuses the request.
func (l *Log) Begin(req *request.Request, o Origin) (*Trail, error) {
	if l == nil {
		return nil, nil
	}
	d := l.policy.decide(req)
	l.metrics.level(d.level)
	if d.level == auditv1.LevelNone {
		return nil, nil
	}
	t := newTrail(l, req, d, o)
	req.AuditsBodies = t.WantsRequest()
	if !t.emit(auditv1.StageRequestReceived) {
		l.metrics.rejected.Inc()
		return nil, fmt.Errorf("the request could not be audited")
	}
	return t, nil
}

// Unauthenticated logs a request that is refused with a status since nobody knows its user.
func (l *Log) Unauthenticated(req *request.Request, o Origin, s *metav1.Status) {
	if l == nil {
		return
	}
	d := l.policy.decide(req)
	l.metrics.level(d.level)
	if d.level == auditv1.LevelNone {
		return
	}
	t := newTrail(l, req, d, o)
	t.Status(s)
	t.emit(auditv1.StageResponseStarted)
}

// send gives an event to every outlet; false: one of them insists that the request must not go on.
func (l *Log) send(ev *auditv1.Event) bool {
	l.metrics.events.Inc()
	ok := true
	for _, o := range l.outlets {
		ok = o.send(ev) && ok
	}
	return ok
}

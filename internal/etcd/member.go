// Package etcd runs an etcd member inside the process and connects to members elsewhere. It is the only
// package that knows etcd's server; everybody else sees a *clientv3.Client and cannot tell which kind it is.
//
// [Start] returns once the member serves: its log is replayed, it has a leader (itself, when it is alone) and
// the first write will be accepted. A lone member campaigns as soon as its log allows, instead of waiting for
// an election timeout, and ticks slowly since nobody waits for its heartbeats. Requests of [Member.Client] are direct calls
// into the server: no socket, no TLS, no encoding. Listeners exist only for the URLs in [Config].
//
// Everything acknowledged is on disk (fsync before the answer), so killing the process loses nothing that a client was
// told of. A slow disk makes requests slow and is told in the log, nothing more. A disk that is nearly full makes writes fail with
// [ErrNoRoom], until there is room again. A disk that fails (input/output error, no
// space left) ends the member as it must, but never the process: [Member.Failed] is closed, [Member.Err] says
// why, and requests fail. Such a member cannot be restarted inside the same process, since etcd
// holds its locks: [Member.Ended] says when a new process can go on.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"hyperkube/internal/lifecycle"
)

// Member is one running etcd server.
type Member struct {
	dir    string
	srv    *embed.Etcd
	client *clientv3.Client
	fail   *failure
	stop   context.CancelFunc
	once   sync.Once
}

// Start starts a member and returns when it serves requests, or with an error when it cannot or ctx ends first.
// The member runs until Close; ctx only bounds the start.
func Start(ctx context.Context, c Config) (*Member, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := roomToBegin(c.Dir); err != nil {
		return nil, err
	}
	ec, err := c.embed()
	if err != nil {
		return nil, err
	}
	return start(ctx, ec, newFailure(c.logger()), c.lone())
}

func start(ctx context.Context, ec *embed.Config, fail *failure, lone bool) (*Member, error) {
	srv, err := launch(ctx, ec, fail)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	m := &Member{dir: ec.Dir, srv: srv, fail: fail, stop: stop}
	go m.drain(run)
	if lone {
		index := held(srv.Server)
		if err = m.await(ctx, lead(run, srv.Server)); err == nil {
			err = behind(srv.Server, index)
		}
	}
	if err == nil {
		err = m.await(ctx, srv.Server.ReadyNotify())
	}
	if err != nil {
		m.Close()
		return nil, explain(ec, err)
	}
	m.client = guarded(run, srv.Server, ec.Dir, fail)
	return m, nil
}

// launch runs etcd in a goroutine of its own: a failure that etcd holds for fatal ends that goroutine and
// shows in fail, and so never leaves the caller hanging.
func launch(ctx context.Context, ec *embed.Config, fail *failure) (*embed.Etcd, error) {
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(fail.logger())
	type result struct {
		srv *embed.Etcd
		err error
	}
	done := make(chan result, 1)
	go func() {
		var srv *embed.Etcd
		err := lifecycle.Guard(func() (err error) { // Etcd takes some damage of its files for impossible.
			srv, err = embed.StartEtcd(ec)
			return err
		})
		done <- result{srv, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, explain(ec, r.err)
		}
		return r.srv, nil
	case <-fail.failed:
		return nil, explain(ec, fail.Err())
	case <-ctx.Done():
		go func() { // Opening a locked database blocks until its other user ends.
			if r := <-done; r.err == nil {
				r.srv.Close()
			}
		}()
		return nil, fmt.Errorf("etcd in %s did not start: %w", ec.Dir, context.Cause(ctx))
	}
}

// await waits for a step of the start, or for what comes between.
func (m *Member) await(ctx context.Context, step <-chan struct{}) error {
	select {
	case <-step:
		return nil
	case <-m.srv.Server.StopNotify():
		return errors.New("it stopped while it started")
	case <-m.fail.failed:
		return m.fail.Err()
	case <-ctx.Done():
		return fmt.Errorf("it has no leader yet: %w", context.Cause(ctx))
	}
}

// drain takes the errors of listeners. One that breaks does not end the member, which others still reach.
func (m *Member) drain(ctx context.Context) {
	for {
		select {
		case err, ok := <-m.srv.Err():
			if !ok {
				return
			}
			if err != nil {
				m.fail.log.Error("etcd listener ended", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Client is the in-process client. It is closed by Close of the member: do not close it.
func (m *Member) Client() *clientv3.Client { return m.client }

// Health tells whether the member can answer with the cluster's agreed state: it asks for a linearizable read,
// as etcd's own /health does. Bound ctx: without a quorum the answer takes the request timeout of about 5 s.
func (m *Member) Health(ctx context.Context) error {
	if err := m.Err(); err != nil {
		return err
	}
	if _, err := m.client.Get(ctx, "health"); err != nil {
		return fmt.Errorf("etcd is not healthy: %w", err)
	}
	alarms, err := m.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("etcd is not healthy: %w", err)
	}
	for _, a := range alarms.Alarms {
		return fmt.Errorf("etcd is not healthy: alarm %s of member %x", a.Alarm, a.MemberID)
	}
	return nil
}

// ID is the member's identity in its cluster.
func (m *Member) ID() uint64 { return uint64(m.srv.Server.MemberID()) }

// Failed is closed when the disk or the log failed such that the member cannot go on.
func (m *Member) Failed() <-chan struct{} { return m.fail.failed }

// Err is nil until Failed is closed, and then what happened.
func (m *Member) Err() error { return m.fail.Err() }

// Stopped is closed when the member ended by Close or because it was removed from its cluster.
func (m *Member) Stopped() <-chan struct{} { return m.srv.Server.StopNotify() }

// Close ends the member in good order. It returns at once when the member failed: etcd then holds
// locks that it never gives back.
func (m *Member) Close() {
	m.once.Do(func() {
		m.stop()
		if m.Err() != nil {
			return
		}
		if m.client != nil {
			if err := m.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
				m.fail.log.Debug("closing the in-process client", "error", err)
			}
		}
		done := make(chan struct{})
		go func() {
			m.srv.Close()
			close(done)
		}()
		select {
		case <-done:
		case <-m.fail.failed:
		}
	})
}

// logOf is the logger of the package's parts.
func logOf(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = slog.Default()
	}
	return l.With("component", "etcd")
}

package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
)

// startLimit bounds what the suite does before its first spec, and between two.
const startLimit = 3 * time.Minute

// player follows one process.
type player struct {
	run     *run
	process *exec.Cmd
	ctx     context.Context
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer // interrupts the process when the spec, or the start, takes too long
	current *specs.Spec
	since   time.Time
	log     *os.File
	tail    []string // what the spec printed since its verdict, or the suite before its first spec
	pending *Result  // the verdict, until all of its block is read
	broken  string
	judged  map[string]bool
	over    chan struct{}
}

// play runs a hand and gives back the specs that had no chance to run.
func play(ctx context.Context, r *run, number int, asked []specs.Spec) []specs.Spec {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &player{run: r, ctx: ctx, cancel: cancel, judged: map[string]bool{}, over: make(chan struct{})}
	args := append([]string{}, r.cfg.Args...)
	for _, s := range asked {
		args = append(args, "--ginkgo.focus="+regexp.QuoteMeta(s.Name)+"$")
	}
	p.process = r.cfg.Command(args...)
	out, in := io.Pipe()
	p.process.Stdout, p.process.Stderr = in, in
	if err := p.openLog(fmt.Sprintf("start-%03d", number)); err != nil {
		return p.fail(asked, err)
	}
	if err := p.process.Start(); err != nil {
		return p.fail(asked, err)
	}
	p.await(startLimit, "the suite did not begin")
	stop := context.AfterFunc(ctx, p.interrupt)
	defer stop()
	read := make(chan error, 1)
	go func() { read <- follow(out, asked, p) }()
	err := p.process.Wait()
	close(p.over)
	in.Close()
	if rerr := <-read; rerr != nil {
		err = errors.Join(err, rerr)
	}
	return p.settle(asked, err)
}

// fail gives every spec of a hand the same cause.
func (p *player) fail(asked []specs.Spec, err error) []specs.Spec {
	for _, s := range asked {
		p.run.done(Result{Spec: s, State: Failed, Cause: err.Error()})
	}
	return nil
}

// settle decides about the specs that have no verdict when the process is over.
func (p *player) settle(asked []specs.Spec, err error) []specs.Spec {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.flush()
	if p.log != nil {
		p.log.Close()
	}
	var rest []specs.Spec
	why := context.Cause(p.ctx)
	for _, s := range asked {
		switch {
		case p.judged[s.Name]:
		case p.current != nil && p.current.Name == s.Name && why != nil:
			p.run.done(Result{Spec: s, State: TimedOut, Took: time.Since(p.since), Cause: why.Error()})
		case p.current != nil && p.current.Name == s.Name:
			p.run.done(Result{Spec: s, State: Failed, Took: time.Since(p.since), Cause: fmt.Sprintf("e2e.test ended in the middle of it: %v", err)})
		case p.current == nil:
			text := cmp.Or(cause(p.tail), strings.Join(last(p.tail, 4), "\n"))
			p.run.done(Result{Spec: s, State: Failed, Cause: fmt.Sprintf("e2e.test ended before it: %v %s\n%s", errors.Join(err, why), p.broken, text)})
		default:
			rest = append(rest, s)
		}
	}
	return rest
}

func last(lines []string, n int) []string {
	return lines[max(0, len(lines)-n):]
}

// await arms the timer that interrupts the process.
func (p *player) await(limit time.Duration, what string) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(limit, func() { p.cancel(fmt.Errorf("%s within %s", what, limit)) })
}

// interrupt asks the process to stop as a user would, and ends it when it does not.
func (p *player) interrupt() {
	group := -p.process.Process.Pid
	_ = syscall.Kill(group, syscall.SIGINT) // it may be over by itself
	select {
	case <-p.over:
	case <-time.After(p.run.cfg.Grace):
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
}

func (p *player) started(s specs.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	p.current, p.since, p.tail = &s, time.Now(), nil
	if err := p.openLog(slug(s.Name)); err != nil {
		p.cancel(err)
	}
	p.await(p.run.limit(s), "the spec did not end")
}

func (p *player) ended(s specs.Spec, state State, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.pending = &Result{Spec: s, State: state, Took: took}
	p.judged[s.Name] = true
	p.tail = nil
	p.await(startLimit, "the suite did not go on")
}

func (p *player) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log != nil {
		fmt.Fprintln(p.log, text)
	}
	const most = 400
	if len(p.tail) < most {
		p.tail = append(p.tail, text)
	}
	if text == delimiter {
		p.flush()
	}
}

func (p *player) setup(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = text
}

// flush reports the spec that has its verdict, with the cause that was printed after it.
func (p *player) flush() {
	if p.pending == nil {
		return
	}
	if p.pending.State != Passed {
		p.pending.Cause = cause(p.tail)
	}
	if why := context.Cause(p.ctx); why != nil && interrupted(p.tail) {
		p.pending.State = TimedOut
		p.pending.Cause = strings.TrimSpace(why.Error() + "\n" + p.pending.Cause)
	}
	p.run.done(*p.pending)
	p.pending = nil
}

// interrupted tells whether a verdict was that of a spec which we have stopped.
func interrupted(lines []string) bool {
	for _, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "[INTERRUPTED]") {
			return true
		}
	}
	return false
}

func (p *player) openLog(name string) (err error) {
	if p.log != nil {
		p.log.Close()
	}
	p.log, err = os.Create(filepath.Join(p.run.cfg.Logs, name+".log"))
	return err
}

var unusual = regexp.MustCompile(`[^A-Za-z0-9]+`)

// slug is a name as a file's name. Long names are cut, and told apart by a hash.
func slug(name string) string {
	const most = 160
	s := strings.Trim(unusual.ReplaceAllString(name, "-"), "-")
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s-%08x", s[:most], crc32.ChecksumIEEE([]byte(name)))
}

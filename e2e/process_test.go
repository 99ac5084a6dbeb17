package e2e

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what a process says.
const patience = 30 * time.Second

// process is a command that runs beside the test. It is gone when the test is.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	pty   *pty // instead of pipes, for a process with a terminal

	mu   sync.Mutex
	text string        // all that it said
	read int           // how much of it expect has gone past
	more chan struct{} // closed and made anew with each new piece of text
	done chan struct{} // closed when it has ended and all is read
}

func newProcess(t *testing.T, cmd *exec.Cmd) *process {
	return &process{t: t, name: strings.Join(cmd.Args, " "), cmd: cmd, more: make(chan struct{}), done: make(chan struct{})}
}

// start runs a command with pipes.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := newProcess(t, cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // its exit code is asked for later
	}()
	t.Cleanup(p.end)
	return p
}

// Write takes what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text += string(b)
	close(p.more)
	p.more = make(chan struct{})
	return len(b), nil
}

func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
	if p.pty != nil {
		p.pty.Close()
	}
}

// expect waits until the process has said a text, after what was expected before.
func (p *process) expect(text string) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		at := strings.Index(p.text[p.read:], text)
		if at >= 0 {
			p.read += at + len(text)
		}
		more, said := p.more, p.text[p.read:]
		p.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-more:
		case <-p.done:
			if !strings.Contains(p.rest(), text) {
				p.t.Fatalf("%s ended without %q: %q", p.name, text, p.rest())
			}
		case <-late:
			p.t.Fatalf("%s has not said %q, but %q", p.name, text, said)
		}
	}
}

// rest is what the process has said after what was expected.
func (p *process) rest() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text[p.read:]
}

// said is all that the process has said.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text
}

// say gives the process a line of input.
func (p *process) say(line string) {
	p.t.Helper()
	var w io.Writer = p.stdin
	if p.pty != nil {
		w = p.pty
	}
	if _, err := io.WriteString(w, line); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// wait gives the exit code when the process has ended.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end; it said %q", p.name, p.rest())
	}
	return p.cmd.ProcessState.ExitCode()
}

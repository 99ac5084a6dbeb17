package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// detachedVar carries the number of the pipe on which a detached process tells how its start went.
const detachedVar = "HYPERKUBE_DETACHED_FD"

// again in its place says that this process took the place of one that had reported before.
const again = "again"

// Again puts a new process in the place of this one, with the same process id, arguments, output and
// environment. It returns only when it cannot.
func Again() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv(detachedVar, again); err != nil {
		return err
	}
	return fmt.Errorf("starting again: %w", unix.Exec(self, os.Args, os.Environ()))
}

// reportFD is the first descriptor after standard error.
const reportFD = 3

// Detach starts this program again with the same arguments, in the same directory, without a terminal and with the node's log as
// its output, and waits until it reports success ([Report]) or ends. Its answer is the text reported. When that takes long, tell
// gets to know what the log says. When ctx ends before, so does the process that was started.
func (l Layout) Detach(ctx context.Context, args []string, tell io.Writer) (string, error) {
	if err := l.Create(); err != nil {
		return "", err
	}
	out, err := os.OpenFile(l.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", fmt.Errorf("opening the log: %w", err)
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	// The node must not hold what the caller's other children have open: a pipe that somebody reads to its end, a lock.
	if err := unix.CloseRange(reportFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return "", fmt.Errorf("starting in the background: %w", err)
	}
	began, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", detachedVar, reportFD))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return "", fmt.Errorf("starting in the background: %w", err)
	}
	done := make(chan report, 1)
	go func() { done <- awaitReport(cmd, r, l.Log(), began) }()
	return l.await(ctx, cmd, done, began, tell)
}

// report is what a detached process told, or why it told nothing.
type report struct {
	text string
	err  error
}

const (
	slow   = 10 * time.Second // when a start is told to take long, and how long one that was given up has to end
	longer = 2                // how much later it is told again, each time
)

func (l Layout) await(ctx context.Context, cmd *exec.Cmd, done <-chan report, began int64, tell io.Writer) (string, error) {
	wait := slow
	for {
		select {
		case r := <-done:
			return r.text, r.err
		case <-time.After(wait):
			wait *= longer
			fmt.Fprintf(tell, "not ready yet; %s says: %s\n", l.Log(), lastTrouble(l.Log(), began))
		case <-ctx.Done():
			// It may have ended by itself, which done tells.
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-done:
			case <-time.After(slow):
				_ = cmd.Process.Kill()
				<-done
			}
			return "", fmt.Errorf("given up before the node was ready: %w", context.Cause(ctx))
		}
	}
}

func awaitReport(cmd *exec.Cmd, r io.Reader, log string, began int64) report {
	b := bufio.NewReader(r)
	status, err := b.ReadByte()
	if err != nil {
		return report{err: fmt.Errorf("the process ended before it was ready (%w)%s; its log is %s", errors.Join(cmd.Wait()), lastWords(log, began), log)}
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return report{err: err}
	}
	if status != 'k' {
		// The reason is the process's own; how it exits after telling it adds nothing.
		_ = cmd.Wait()
		return report{err: errors.New(string(text))}
	}
	return report{string(text), cmd.Process.Release()}
}

// lastWords looks for what a process that crashed said, in its log from an offset on.
func lastWords(log string, from int64) string {
	for t := range linesOf(log, from) {
		if strings.HasPrefix(t, "panic: ") || strings.HasPrefix(t, "fatal error: ") {
			return ": " + t
		}
	}
	return ""
}

// lastTrouble looks for the last warning or error in a log from an offset on, in either format of it.
func lastTrouble(log string, from int64) string {
	last := "nothing of trouble"
	for t := range linesOf(log, from) {
		for _, level := range []string{"level=WARN", "level=ERROR", `"level":"WARN"`, `"level":"ERROR"`} {
			if strings.Contains(t, level) {
				last = t
			}
		}
	}
	return last
}

// linesOf gives the lines of a file from an offset on. A file that cannot be read has none.
func linesOf(file string, from int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		f, err := os.Open(file)
		if err != nil {
			return
		}
		defer f.Close()
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			return
		}
		for lines := bufio.NewScanner(io.LimitReader(f, 1<<20)); lines.Scan(); {
			if !yield(lines.Text()) {
				return
			}
		}
	}
}

// Detached says whether this process was started by Detach.
func Detached() bool { return os.Getenv(detachedVar) != "" }

// Report tells whoever detached this process how its start went; without one it does nothing. Only the
// first call counts.
func Report(text string, failure error) {
	if !Detached() {
		return
	}
	already := os.Getenv(detachedVar) == again
	os.Unsetenv(detachedVar)
	if already {
		return
	}
	w := os.NewFile(reportFD, "report")
	defer w.Close()
	status := "k"
	if failure != nil {
		status, text = "e", failure.Error()
	}
	// Nobody listens any more when the parent is gone, and that is no harm.
	_, _ = w.WriteString(status + text)
}

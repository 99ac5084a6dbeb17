package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// detached is a process that Detach started.
func detached(part string) {
	switch part {
	case "says where":
		dir, err := os.Getwd()
		Report(dir, err)
	case "fails":
		Report("", errors.New("no luck"))
	case "hangs":
		fmt.Fprintln(os.Stderr, "level=WARN msg=slow")
		if err := os.WriteFile(os.Getenv("TEST_STARTED"), nil, 0o600); err != nil {
			panic(err)
		}
		for {
			_ = syscall.Pause()
		}
	}
}

func TestDetachedProcessesTellHowTheyStart(t *testing.T) {
	l := layout(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("TEST_DETACHED", "says where")
	// Paths of flags are relative to where the user is.
	if text, err := l.Detach(t.Context(), nil, io.Discard); err != nil || text != dir {
		t.Errorf("it runs in %q, %v, want %q", text, err, dir)
	}
	t.Setenv("TEST_DETACHED", "fails")
	if _, err := l.Detach(t.Context(), nil, io.Discard); err == nil || err.Error() != "no luck" {
		t.Errorf("it failed: %v", err)
	}
	t.Setenv("TEST_DETACHED", "ends")
	if _, err := l.Detach(t.Context(), nil, io.Discard); err == nil || !strings.Contains(err.Error(), "the process ended before it was ready") {
		t.Errorf("it ended: %v", err)
	}
}

// TestAStartCanBeGivenUp interrupts a start that takes for ever: its process ends too.
func TestAStartCanBeGivenUp(t *testing.T) {
	l := layout(t)
	started := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_DETACHED", "hangs")
	t.Setenv("TEST_STARTED", started)
	ctx, giveUp := context.WithCancelCause(t.Context())
	why := errors.New("the user has had enough")
	go func() {
		_, _ = os.ReadFile(started) // returns when the process has opened and closed it
		giveUp(why)
	}()
	if _, err := l.Detach(ctx, nil, io.Discard); !errors.Is(err, why) {
		t.Fatalf("given up: %v", err)
	}
	if got := lastTrouble(l.Log(), 0); got != "level=WARN msg=slow" {
		t.Errorf("the log says %q", got)
	}
}

package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

func layout(t *testing.T) Layout {
	t.Helper()
	l, err := NewLayout(filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Create(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayoutsDoNotMeet(t *testing.T) {
	a, _ := NewLayout("", "")
	b, _ := NewLayout("/a", "")
	c, _ := NewLayout("/b", "")
	if a.Run != DefaultRunDir || b.Run == c.Run || a.Run == b.Run || b.CgroupParent() == c.CgroupParent() {
		t.Fatalf("%+v %+v %+v", a, b, c)
	}
}

func TestNodeRoundTrip(t *testing.T) {
	l := layout(t)
	if _, err := l.LoadNode(); !errors.Is(err, ErrNoNode) {
		t.Fatalf("before it was saved: %v", err)
	}
	want := Node{Name: "n", Master: true, Server: "https://x:6443", Bridge: "b"}
	if err := l.SaveNode(want); err != nil {
		t.Fatal(err)
	}
	if got, err := l.LoadNode(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestLock(t *testing.T) {
	l := layout(t)
	if pid, err := l.Running(); pid != 0 || err != nil {
		t.Fatal(pid, err)
	}
	release, err := l.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := l.Running(); pid != os.Getpid() || err != nil {
		t.Fatal(pid, err)
	}
	if _, err := l.Lock(); !errors.Is(err, ErrRunning) {
		t.Fatal(err)
	}
	release()
	if pid, _ := l.Running(); pid != 0 {
		t.Fatal(pid)
	}
}

func TestCreateNamesTheDirectoryThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := NewLayout(filepath.Join(file, "data"), t.TempDir())
	if err := l.Create(); err == nil {
		t.Fatal("a data directory below a file was accepted")
	}
}

// TestMain lets the test binary play the process that Stop ends: it locks the layout in its
// environment and waits.
func TestMain(m *testing.M) {
	data, run := os.Getenv("TEST_LAYOUT_DATA"), os.Getenv("TEST_LAYOUT_RUN")
	if data == "" {
		os.Exit(m.Run())
	}
	l, err := NewLayout(data, run)
	if err == nil {
		_, err = l.Lock()
	}
	if err != nil {
		os.Exit(2)
	}
	os.Stdout.WriteString("k")
	select {}
}

func TestStop(t *testing.T) {
	l := layout(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_LAYOUT_DATA="+l.Data, "TEST_LAYOUT_RUN="+l.Run)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	if pid, _ := l.Running(); pid != cmd.Process.Pid {
		t.Fatalf("running is %d, want %d", pid, cmd.Process.Pid)
	}
	if err := l.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if pid, _ := l.Running(); pid != 0 {
		t.Fatalf("process %d still runs", pid)
	}
	_ = cmd.Wait()
}

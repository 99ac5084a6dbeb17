package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hyperkube/internal/testenv"
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
	got, err := l.LoadNode()
	if got.Run != l.Run || got.Format != format || got.Kernel == nil {
		t.Errorf("what is filled in: %+v", got)
	}
	got.Run, got.Format, got.Kernel = "", 0, nil
	if err != nil || !reflect.DeepEqual(got, want) {
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

// TestMain lets the test binary play the process that Stop ends, which locks the layout in its environment and waits, and those that
// Detach starts.
func TestMain(m *testing.M) {
	if part := os.Getenv("TEST_DETACHED"); part != "" {
		detached(part)
		return
	}
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
	for { // unlike an empty select, which the scheduler takes for a deadlock
		_ = syscall.Pause()
	}
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

// tree makes files with their directories.
func tree(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		p := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestForeignDirectoriesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data, run []string
		create    error // of Create
		recognise error
	}{
		"nothing":              {nil, nil, nil, ErrNoNode},
		"somebody's":           {[]string{"photos/a"}, nil, ErrForeign, ErrForeign},
		"like /var/lib":        {[]string{"kubelet/x", "containerd/y", "etcd/z", "dpkg/w"}, nil, ErrForeign, ErrForeign},
		"somebody's run":       {nil, []string{"systemd/x"}, ErrForeign, nil},
		"fresh file system":    {[]string{"lost+found/"}, nil, nil, ErrNoNode},
		"a node's":             {[]string{"node.json", "pki/ca.crt", "notes.txt"}, nil, nil, nil},
		"without node.json":    {[]string{"pki/ca.crt", "etcd/member/x", "hyperkube.log", ".admin.kubeconfig.123"}, []string{"containerd/x"}, nil, nil},
		"only the run is left": {nil, []string{"containerd/x", "lock"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := NewLayout(filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "run"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range c.data {
				if f == "lost+found/" {
					f += "x"
				}
				tree(t, l.Data, f)
			}
			tree(t, l.Run, c.run...)
			if err := l.Recognise(); !errors.Is(err, c.recognise) {
				t.Errorf("Recognise: %v, want %v", err, c.recognise)
			}
			if err := l.Create(); !errors.Is(err, c.create) {
				t.Errorf("Create: %v, want %v", err, c.create)
			}
		})
	}
}

func TestRemoveTakesOnlyWhatIsANodes(t *testing.T) {
	l := layout(t)
	outside := t.TempDir()
	tree(t, outside, "precious")
	tree(t, l.Data, "node.json", "pki/ca.crt", "kubelet/pods/a/b/c", "mine.txt")
	tree(t, l.Run, "containerd/x/y")
	for _, link := range []string{"kubelet/link", "etcd"} {
		if err := os.Symlink(outside, filepath.Join(l.Data, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(outside, "precious")) {
		t.Error("a link was followed")
	}
	if left, _ := os.ReadDir(l.Data); len(left) != 1 || left[0].Name() != "mine.txt" {
		t.Errorf("left are %v, want what is not the node's", left)
	}
	if exists(l.Run) {
		t.Error("the run directory is left")
	}
}

func TestRemoveStopsAtMounts(t *testing.T) {
	testenv.NeedRoot(t)
	l := layout(t)
	outside := t.TempDir() // on the same file system: only the mount tells them apart
	tree(t, outside, "precious")
	tree(t, l.Data, "node.json", "kubelet/pods/volume/x", "pki/ca.crt")
	at := filepath.Join(l.Data, "kubelet", "pods", "volume")
	if err := unix.Mount(outside, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	if err := l.Remove(); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("Remove: %v, want an error that names %s", err, at)
	}
	if !exists(filepath.Join(outside, "precious")) {
		t.Fatal("it deleted through a mount")
	}
	if !exists(l.node()) {
		t.Error("node.json is gone, so that the next reset would not know the rest")
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil || exists(l.Data) {
		t.Errorf("after unmounting: %v", err)
	}
}

func TestLinksInPathsAreResolved(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	a, _ := NewLayout(filepath.Join(real, "x", "y"), "")
	b, err := NewLayout(filepath.Join(link, "x", "y"), "")
	if err != nil || a != b {
		t.Errorf("%+v and %+v, %v", a, b, err)
	}
}

func TestNodeOfOtherFormats(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"older":   {`{"name":"n"}`, nil},
		"newer":   {`{"name":"n","format":99}`, ErrNewer},
		"garbage": {`{"name`, ErrDamaged},
		"empty":   {``, ErrDamaged},
	} {
		l := layout(t)
		if err := os.WriteFile(l.node(), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.LoadNode(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestRunDirectoryIsRemembered(t *testing.T) {
	l := layout(t)
	if err := l.SaveNode(Node{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if again, err := NewLayout(l.Data, ""); err != nil || again != l {
		t.Errorf("found %+v, %v; it was started with %+v", again, err, l)
	}
}

func TestNeitherDirectoryServesTwo(t *testing.T) {
	l := layout(t)
	release, err := l.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, other := range []Layout{{l.Data, t.TempDir()}, {t.TempDir(), l.Run}} {
		if _, err := other.Lock(); !errors.Is(err, ErrRunning) {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

// TestAKilledProcessIsWaitedFor: who kills a node and starts it again need not wait between the two.
func TestAKilledProcessIsWaitedFor(t *testing.T) {
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
	defer cmd.Wait()
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	if awaitDying(cmd.Process.Pid) {
		t.Error("a process that runs is thought to be dying")
	}
	if _, err := l.Lock(); !errors.Is(err, ErrRunning) {
		t.Errorf("beside a process that runs: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	release, err := l.Lock()
	if err != nil {
		t.Fatalf("after it was killed: %v", err)
	}
	release()
}

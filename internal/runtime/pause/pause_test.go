package pause

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestPrograms(t *testing.T) {
	for arch := range machines {
		p, err := Program(arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(p))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if len(f.Progs) != 1 || f.Progs[0].Filesz != uint64(len(p)) {
			t.Errorf("%s: segments %v of %d bytes", arch, f.Progs, len(p))
		}
	}
	if _, err := Program("mips"); err == nil || !strings.Contains(err.Error(), "mips") {
		t.Errorf("an architecture that it was not written for gave %v", err)
	}
}

// TestEndsOnTerm runs the program of this machine; those of others where an emulator is installed.
func TestEndsOnTerm(t *testing.T) {
	emulators := map[string]string{"arm64": "qemu-aarch64-static", "amd64": "qemu-x86_64-static"}
	for arch := range machines {
		t.Run(arch, func(t *testing.T) {
			p, err := Program(arch)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "pause")
			if err := os.WriteFile(path, p, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path)
			if arch != runtime.GOARCH {
				emulator, err := exec.LookPath(emulators[arch])
				if err != nil {
					t.Skipf("no %s here", emulators[arch])
				}
				cmd = exec.Command(emulator, path)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// A child's end must not end it; TERM must, in good order. Signals sent before the program has blocked them would
			// kill it, so it must be seen sleeping first.
			waitAsleep(t, cmd.Process.Pid)
			for _, s := range []os.Signal{syscall.SIGCHLD, syscall.SIGTERM} {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// waitAsleep waits until the process sleeps, which it does only in the system call that waits for signals.
func waitAsleep(t *testing.T, pid int) {
	t.Helper()
	for range 100000 {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "State:\tS") {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("it does not come to sleep")
}

func TestArchiveIsAlwaysTheSame(t *testing.T) {
	a, err := Archive("registry.k8s.io/pause:3.10", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Archive("registry.k8s.io/pause:3.10", "arm64")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two archives differ (%v)", err)
	}
	index := ""
	for r := tar.NewReader(bytes.NewReader(a)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "index.json" {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			index = string(data)
		}
	}
	if !strings.Contains(index, `"io.containerd.image.name":"registry.k8s.io/pause:3.10"`) || !strings.Contains(index, `"architecture":"arm64"`) {
		t.Errorf("index: %s", index)
	}
}

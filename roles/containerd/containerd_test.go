package containerd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/runtime"
	"hyperkube/internal/testenv"
)

const roleEnv = "HYPERKUBE_TEST_ROLE"

// TestMain doubles as the role, which a process can be once.
func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	app := &cli.App{Commands: []*cli.Command{Command()}}
	if err := app.RunContext(ctx, append([]string{"hyperkube"}, os.Args[1:]...)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestServesUnderItsFlags(t *testing.T) {
	testenv.NeedRoot(t)
	dir, err := os.MkdirTemp("", "hkctd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "config.toml")
	text := "version = 4\n[plugins.'io.containerd.cri.v1.runtime']\nmax_container_log_line_size = 4321\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "c.sock")
	cmd := exec.Command(os.Args[0], "containerd", "--root", dir+"/root", "--state", dir+"/state", "--address", socket, "--config", config, "--log-level", "warn")
	cmd.Env = append(os.Environ(), roleEnv+"=yes")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the role did not end well: %v", err)
		}
		if err := runtime.Cleanup(context.Background(), runtime.CleanupConfig{Root: dir + "/root", State: dir + "/state"}); err != nil {
			t.Error(err)
		}
	}()
	limit, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var rs cri.RuntimeServiceClient
	for {
		var closer io.Closer
		var is cri.ImageServiceClient
		if rs, is, closer, err = runtime.DialCRI(limit, socket); err == nil {
			defer closer.Close()
			// The pause image is the last thing that a start sees to.
			img, err := is.ImageStatus(limit, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: runtime.DefaultPauseImage}})
			if err == nil && img.Image != nil {
				break
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the role ended: %v", err)
		case <-limit.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	st, err := rs.Status(limit, &cri.StatusRequest{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range st.Status.Conditions {
		if c.Type == "RuntimeReady" && !c.Status {
			t.Errorf("not ready: %v", c)
		}
	}
	// One value of the user's is merged into our table: the others stay.
	for _, want := range []string{`"maxContainerLogLineSize":4321`, `"netnsMountsUnderStateDir":true`} {
		if !strings.Contains(st.Info["config"], want) {
			t.Errorf("the configuration lacks %s: %s", want, st.Info["config"])
		}
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("socket: %v, %v; want it for root only", info, err)
	}
}

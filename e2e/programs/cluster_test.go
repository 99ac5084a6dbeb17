package programs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/internal/ociarchive"
	"hyperkube/internal/testenv"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// The images that the tests' pods run.
const (
	webImage      = "example.test/webapp:1"
	operatorImage = "example.test/operator:1"
)

// cluster is the one that all programs are tried on.
type cluster struct {
	bin, data string
}

// newCluster starts the cluster and loads the images.
func newCluster(t *testing.T) cluster {
	t.Helper()
	testenv.NeedRoot(t)
	bin, err := filepath.Abs("../../build/hyperkube")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("build/hyperkube is missing: run make first")
	}
	c := cluster{bin: bin, data: filepath.Join("/tmp", name())}
	c.up(t)
	archive := filepath.Join(t.TempDir(), "images.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ociarchive.Write(f, image(t, webImage, c.build(t, "../..", "./e2e/webapp")), image(t, operatorImage, c.build(t, ".", "./operator"))); err != nil {
		t.Fatal(err)
	}
	c.run(t, c.bin, "images", "import", "--data-dir", c.data, archive)
	return c
}

func (c cluster) up(t *testing.T, more ...string) {
	t.Helper()
	c.run(t, c.bin, append([]string{"up", "--detach", "--data-dir", c.data, "--node-name", "one"}, more...)...)
}

func (c cluster) down(t *testing.T) {
	t.Helper()
	c.run(t, c.bin, "down", "--data-dir", c.data)
}

// build makes a static program of this repository.
func (c cluster) build(t *testing.T, module, pkg string) string {
	t.Helper()
	out := filepath.Join(filepath.Dir(c.bin), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", pkg, err, text)
	}
	return out
}

// image is one program, with the names by which `kubectl cp` asks for its help.
func image(t *testing.T, ref, program string) ociarchive.Image {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Base(program)
	return ociarchive.Image{
		Ref: ref, Entrypoint: []string{"/" + at}, Env: []string{"PATH=/bin"},
		Files: []ociarchive.File{
			{Path: at, Mode: 0o755, Data: data},
			{Path: "bin/tar", Link: "/" + at},
			{Path: "bin/test", Link: "/" + at},
			{Path: "tmp", Dir: true, Mode: 0o1777},
		},
	}
}

func (c cluster) kubeconfig() string { return filepath.Join(c.data, "admin.kubeconfig") }

// upstream is where a program of upstream lies.
func (c cluster) upstream(t *testing.T, program string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(c.bin), "upstream", program)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("build/upstream/%s is missing: run scripts/build-upstream %s", program, program)
	}
	return path
}

// config is the administrator's, for clients in this process.
func (c cluster) config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func (c cluster) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.config(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (c cluster) command(t *testing.T, program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	home := t.TempDir() // what programs keep between their runs is theirs alone
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig(), "HOME="+home, "KUBECACHEDIR="+home)
	return cmd
}

// run gives what a program prints, and fails the test when it fails.
func (c cluster) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return c.feed(t, "", program, args...)
}

// feed is run with an input.
func (c cluster) feed(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	cmd := c.command(t, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s%s", strings.Join(cmd.Args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// fails gives what a program says that must fail.
func (c cluster) fails(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := c.command(t, program, args...).CombinedOutput()
	if err == nil {
		t.Errorf("%s %s: succeeded: %s", program, strings.Join(args, " "), out)
	}
	return string(out)
}

// namespace makes a namespace that goes with the test.
func (c cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	kubectl := c.upstream(t, "kubectl")
	c.run(t, kubectl, "create", "namespace", name)
	t.Cleanup(func() {
		if out, err := c.command(t, kubectl, "delete", "namespace", name, "--timeout=60s").CombinedOutput(); err != nil {
			t.Errorf("deleting the namespace: %v: %s", err, out)
		}
	})
	c.run(t, kubectl, "wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
	return name
}

// beside starts a program that runs beside the cluster until the test ends.
func (c cluster) beside(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	log, err := os.Create(filepath.Join(c.data, filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(c.data, filepath.Base(program)+".pid")
	if err := os.WriteFile(pid, fmt.Appendf(nil, "%d %s", cmd.Process.Pid, program), 0o600); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s said:\n%s", program, text[max(0, len(text)-4000):])
		}
	})
}

// has fails the test unless a text has all of the others. How wide a gap is means nothing.
func has(t *testing.T, what, got string, want ...string) {
	t.Helper()
	narrow := strings.Join(strings.Fields(got), " ")
	for _, w := range want {
		if !strings.Contains(narrow, strings.Join(strings.Fields(w), " ")) {
			t.Errorf("%s: no %q in\n%.3000s", what, w, got)
		}
	}
}

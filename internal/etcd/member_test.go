package etcd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"hyperkube/internal/testenv"
)

const childEnv = "HYPERKUBE_TEST_ETCD_DIR"

// TestMain doubles as the process that is killed in TestSurvivesKill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func begin(t testing.TB, c Config) *Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestLoneMemberServesAtOnce(t *testing.T) {
	from := time.Now()
	m := begin(t, Config{Dir: t.TempDir()})
	if _, err := m.Client().Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	took := time.Since(from)
	t.Logf("start to first write: %v", took)
	if took > 2*time.Second {
		t.Errorf("first write after %v: the member waited for an election timeout", took)
	}
	if err := m.Health(t.Context()); err != nil {
		t.Error(err)
	}
	w := m.Client().Watch(t.Context(), "b", clientv3.WithPrefix())
	if _, err := m.Client().Put(t.Context(), "b1", "x"); err != nil {
		t.Fatal(err)
	}
	if e := (<-w).Events; len(e) != 1 || string(e[0].Kv.Key) != "b1" {
		t.Errorf("watch told of %v", e)
	}
}

func TestRestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	m := begin(t, Config{Dir: dir})
	if _, err := m.Client().Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	from := time.Now()
	m = begin(t, Config{Dir: dir})
	t.Logf("restart: %v", time.Since(from))
	r, err := m.Client().Get(t.Context(), "a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "1" {
		t.Fatalf("after the restart: %v, %v", r, err)
	}
}

func writeUntilKilled(dir string) {
	m, err := Start(context.Background(), Config{Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if _, err := m.Client().Put(context.Background(), fmt.Sprintf("k%06d", i), "v"); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		acknowledged++
		if acknowledged == 300 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	m := begin(t, Config{Dir: dir})
	r, err := m.Client().Get(t.Context(), "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if int(r.Count) < acknowledged {
		t.Errorf("%d writes were acknowledged, %d are there", acknowledged, r.Count)
	}
}

func TestClearErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := t.TempDir()
	begin(t, Config{Dir: used})
	for name, c := range map[string]struct {
		config func(dir string) Config
		want   string
	}{
		"no directory":  {func(string) Config { return Config{} }, "Dir is needed"},
		"a file":        {func(d string) Config { return Config{Dir: write(t, d, "x", "")} }, "not a directory"},
		"in use":        {func(string) Config { return Config{Dir: used} }, "in use by another process"},
		"port in use":   {func(d string) Config { return Config{Dir: d, ClientURLs: []string{"http://" + l.Addr().String()}} }, "another process listens"},
		"damaged":       {func(d string) Config { write(t, d, "member/snap/db", "rubbish"); return Config{Dir: d} }, "invalid database"},
		"no such cert":  {func(d string) Config { return Config{Dir: d, ClientURLs: []string{"https://127.0.0.1:0"}} }, "https"},
		"peers unknown": {func(d string) Config { return Config{Dir: d, InitialCluster: "a=http://127.0.0.1:1"} }, "PeerURLs"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			m, err := Start(ctx, c.config(t.TempDir()))
			if err == nil {
				m.Close()
				t.Fatal("it started")
			}
			if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q; want one with %q", err, c.want)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestThreeMembers(t *testing.T) {
	var configs [3]Config
	var initial []string
	for i := range configs {
		url := fmt.Sprintf("http://127.0.0.1:%d", testenv.FreePort(t))
		configs[i] = Config{Dir: t.TempDir(), Name: fmt.Sprint("m", i), PeerURLs: []string{url}}
		initial = append(initial, configs[i].Name+"="+url)
	}
	type result struct {
		m   *Member
		err error
	}
	got := make(chan result, len(configs))
	for _, c := range configs {
		c.InitialCluster = strings.Join(initial, ",")
		go func() {
			m, err := Start(t.Context(), c)
			got <- result{m, err}
		}()
	}
	var members []*Member
	for range configs {
		r := <-got
		if r.err != nil {
			t.Fatal(r.err)
		}
		members = append(members, r.m)
		t.Cleanup(r.m.Close)
	}
	if _, err := members[0].Client().Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		r, err := m.Client().Get(t.Context(), "a")
		if err != nil || len(r.Kvs) != 1 {
			t.Fatalf("read from another member: %v, %v", r, err)
		}
	}
	members[0].Close()
	if _, err := members[1].Client().Put(t.Context(), "a", "2"); err != nil {
		t.Errorf("write with two of three members: %v", err)
	}
}

// Command conformance runs upstream's conformance suite, unmodified, against a cluster of two nodes that it makes of
// build/hyperkube on this machine, and tells what passed. `make conformance` builds all that it needs.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"hyperkube/e2e/conformance/internal/images"
	"hyperkube/e2e/conformance/internal/lab"
	"hyperkube/e2e/conformance/internal/report"
	"hyperkube/e2e/conformance/internal/specs"
	"hyperkube/e2e/conformance/internal/suite"
)

//go:embed areas.txt
var areas string

// quick are the specs that must pass on every commit.
//
//go:embed quick.txt
var quick string

type options struct {
	root, focus, skip string
	quick, keep       bool
	procs             int
	limit, total      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "`DIR` of the project")
	flag.StringVar(&o.focus, "focus", "", "`REGEX` of the names or areas of specs to run")
	flag.StringVar(&o.skip, "skip", "", "`REGEX` of the names or areas of specs to leave out")
	flag.BoolVar(&o.quick, "quick", false, "run the specs of quick.txt alone")
	flag.BoolVar(&o.keep, "keep", false, "leave the cluster running; the next run uses it as it is")
	flag.IntVar(&o.procs, "procs", 4, "`NUMBER` of specs that run at the same time")
	flag.DurationVar(&o.limit, "limit", 6*time.Minute, "`TIME` that a spec may take; those that upstream calls slow, three times as much")
	flag.DurationVar(&o.total, "total", 3*time.Hour, "`TIME` that the whole run may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	passed, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if err != nil || !passed {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (passed bool, err error) {
	if o.root, err = filepath.Abs(o.root); err != nil {
		return false, err
	}
	all, chosen, err := o.choose()
	if err != nil {
		return false, err
	}
	if os.Geteuid() != 0 {
		if o.quick && os.Getenv("CI") != "true" {
			fmt.Println("skipped: conformance needs root, for network namespaces and containers")
			return true, nil
		}
		return false, errors.New("it needs root: it makes network namespaces and containers")
	}
	upstream := filepath.Join(o.root, "build", "upstream")
	out := filepath.Join(o.root, "build", "conformance")
	set, err := o.images(ctx, upstream, filepath.Join(out, "cache"))
	if err != nil {
		return false, err
	}
	l, err := o.lab()
	if err != nil {
		return false, err
	}
	defer l.Close()
	defer func() {
		if !o.keep {
			err = errors.Join(err, l.Keep(out), l.Clean())
		}
	}()
	if err := o.start(ctx, l, set); err != nil {
		return false, errors.Join(err, l.Keep(out))
	}
	results, took, err := o.play(ctx, l, upstream, out, chosen)
	if err != nil {
		return false, err
	}
	passed = report.Print(os.Stdout, results, all, took)
	fmt.Printf("what each spec said: %s; JUnit: %s\n", filepath.Join(out, "specs"), filepath.Join(out, "junit.xml"))
	if err := report.JUnit(filepath.Join(out, "junit.xml"), results, took); err != nil {
		return passed, err
	}
	if len(chosen) == len(all) && ctx.Err() == nil {
		return passed, o.document(ctx, results, all, took)
	}
	return passed, nil
}

// choose gives all specs, and those to run.
func (o *options) choose() (all, chosen []specs.Spec, err error) {
	if all, err = specs.Parse(areas); err != nil {
		return nil, nil, err
	}
	chosen = all
	if o.quick {
		if chosen, err = specs.Pick(all, quick); err != nil {
			return nil, nil, fmt.Errorf("quick.txt: %w", err)
		}
	}
	if chosen, err = specs.Select(chosen, o.focus, o.skip); err != nil {
		return nil, nil, err
	}
	if len(chosen) == 0 {
		return nil, nil, errors.New("no spec matches")
	}
	return all, chosen, nil
}

func (o *options) images(ctx context.Context, upstream, cache string) (*images.Set, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	cmd.Dir = filepath.Join(o.root, "e2e", "conformance")
	source, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the source of k8s.io/kubernetes: %w", err)
	}
	return images.Make(upstream, strings.TrimSpace(string(source)), cache)
}

func (o *options) lab() (*lab.Lab, error) {
	name := os.Getenv("HYPERKUBE_E2E_NAME")
	if name == "" {
		name = "hyperkube"
	}
	l := &lab.Lab{Binary: filepath.Join(o.root, "build", "hyperkube"), Name: name + "-conf"}
	return l, l.Lock()
}

// start makes the cluster, or takes over one that was kept.
func (o *options) start(ctx context.Context, l *lab.Lab, set *images.Set) error {
	registry, err := set.Registry(ctx)
	if err != nil {
		return err
	}
	if o.keep && l.Running(ctx) {
		fmt.Println("using the cluster that was kept")
		return l.Serve(registry)
	}
	if err := l.Clean(); err != nil {
		return err
	}
	began := time.Now()
	if err := l.Start(ctx, set.Archive, registry); err != nil {
		return err
	}
	fmt.Printf("two nodes are up after %s; kubeconfig for the namespace %s: %s\n", time.Since(began).Round(100*time.Millisecond), l.Hub(), l.Kubeconfig())
	return nil
}

func (o *options) play(ctx context.Context, l *lab.Lab, upstream, out string, chosen []specs.Spec) ([]suite.Result, time.Duration, error) {
	logs := filepath.Join(out, "specs")
	if err := errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o755)); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.total, fmt.Errorf("the run did not end within %s", o.total))
	defer cancel()
	began := time.Now()
	results := suite.Run(ctx, suite.Config{
		Command: func(args ...string) *exec.Cmd { return l.Tester(filepath.Join(upstream, "e2e.test"), args...) },
		Args: []string{
			"--kubeconfig=" + l.Kubeconfig(), "--kubectl-path=" + filepath.Join(upstream, "kubectl"), "--provider=skeleton",
			"--num-nodes=2", "--dns-domain=cluster.local", "--disable-log-dump", "--node-schedulable-timeout=2m", "--system-pods-startup-timeout=2m",
			"--ginkgo.v", "--ginkgo.no-color", "--ginkgo.silence-skips", "--ginkgo.timeout=24h", "--ginkgo.seed=1",
		},
		Logs: logs, Procs: o.procs, Limit: o.limit,
		Report: func(r suite.Result, p suite.Progress) {
			fmt.Printf("%s [%d/%d] %-9s %7s  %s\n", time.Now().Format("15:04:05"), p.Done, p.Of, r.State, r.Took.Round(100*time.Millisecond), r.Spec.Name)
		},
	}, chosen)
	return results, time.Since(began), nil
}

// document writes the committed table of a full run.
func (o *options) document(ctx context.Context, results []suite.Result, all []specs.Spec, took time.Duration) error {
	commit := "unknown"
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--abbrev=12", "--dirty")
	cmd.Dir = o.root
	if text, err := cmd.Output(); err == nil {
		commit = strings.TrimSpace(string(text))
	}
	return report.Markdown(filepath.Join(o.root, "e2e", "conformance", "RESULTS.md"), report.Run{
		Commit: commit, Kubernetes: "v1.37.2", Date: time.Now(), Procs: o.procs, Took: took,
		Machine: fmt.Sprintf("%d CPUs, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
	}, results, all)
}

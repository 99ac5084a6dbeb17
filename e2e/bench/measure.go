package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/machine"
	"hyperkube/e2e/bench/report"
	"hyperkube/e2e/bench/scenario"
	"hyperkube/e2e/bench/system"
)

const (
	roundVerb = "@round"
	// resultsFD is the first descriptor after standard error.
	resultsFD = 3
)

// value is what a round tells of one figure.
type value struct {
	Figure string
	Value  float64
}

// boxName keeps those who measure at the same time apart.
func boxName() string {
	if n := os.Getenv("HYPERKUBE_E2E_NAME"); n != "" {
		return "hk-bench-" + n
	}
	return "hk-bench"
}

// measure runs the rounds of the chosen scenarios, the systems taking turns, and prints the table.
func measure(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root: it makes network namespaces, cgroups and containers")
	}
	scenarios, err := chosen(o.scenario)
	if err != nil {
		return err
	}
	if err := system.Build(ctx, o.root, o.systems); err != nil {
		return err
	}
	if err := buildWaiter(ctx, o.root); err != nil {
		return err
	}
	box := machine.At(boxName(), o.work)
	box.Reset = system.Reset(o.root, box)
	release, err := startGuard(o, box)
	if err != nil {
		return err
	}
	defer release()
	var results []report.Result
	var failures []error
	for _, s := range scenarios {
		r, err := rounds(ctx, o, box, s)
		results = append(results, r...)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.Name, err))
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.Name, err)
		}
		if err := save(o, r); err != nil {
			failures = append(failures, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(failures, publish(o, scenarios, results))...)
}

// rounds measures one scenario. Of one that is broken off, it gives the rounds that were whole.
func rounds(ctx context.Context, o options, box *machine.Box, s scenario.Scenario) ([]report.Result, error) {
	samples := map[string]map[string][]float64{} // figure, system
	load := 0.0
	var failures []error
	count := o.rounds
	if s.Once {
		count = 1
	}
	for n := range count {
		took := map[string][]value{} // system
		for i := range o.systems {
			name := o.systems[(i+n)%len(o.systems)]
			if s.Alone && name != "hyperkube" {
				continue
			}
			load = max(load, machine.Load())
			values, err := inBox(ctx, o, box, s, name)
			if err != nil {
				failures = append(failures, fmt.Errorf("round %d, %s: %w", n+1, name, err))
				if ctx.Err() != nil {
					break
				}
				continue
			}
			took[name] = values
			for _, v := range values {
				fmt.Fprintf(os.Stderr, "%s, round %d, %s: %s = %.4g\n", s.Name, n+1, name, v.Figure, v.Value)
			}
		}
		if ctx.Err() != nil {
			break
		}
		for name, values := range took {
			for _, v := range values {
				if samples[v.Figure] == nil {
					samples[v.Figure] = map[string][]float64{}
				}
				samples[v.Figure][name] = append(samples[v.Figure][name], v.Value)
			}
		}
	}
	if len(samples) == 0 && ctx.Err() != nil {
		return nil, errors.Join(failures...)
	}
	var out []report.Result
	for _, f := range s.Figures {
		out = append(out, report.Result{
			Scenario: s.Name, Figure: f.Name, Unit: f.Unit, Higher: f.Higher, Goal: f.Goal, Times: f.Times,
			Samples: samples[f.Name], Load: load, When: time.Now().UTC().Truncate(time.Second), Commit: commit(o.root),
		})
	}
	return out, errors.Join(failures...)
}

// inBox runs one round on one system in a process of its own.
func inBox(ctx context.Context, o options, box *machine.Box, s scenario.Scenario, name string) (values []value, err error) {
	if err := box.Create(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, box.Remove()) }()
	if s.OwnDisk {
		if _, err := box.CreateDisk(2048); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := box.Client(ctx, self, roundVerb, s.Name, name, o.root, o.work)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	in := bufio.NewScanner(r)
	for in.Scan() {
		var v value
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("not done after %s: %w", s.Limit, context.Cause(ctx))
		}
		keepLog(o, box, s.Name, name)
		return nil, err
	}
	return values, nil
}

// round is the process of one round: scenario, system, root and work directory are its arguments, what it
// measures goes to the pipe.
func round(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("a scenario, a system and two directories are needed")
	}
	scenarios, err := chosen(args[0])
	if err != nil {
		return err
	}
	box := machine.At(boxName(), args[3])
	r := &scenario.Round{Box: box, Root: args[2]}
	if scenarios[0].OwnDisk {
		if r.Disk, err = box.OpenDisk(); err != nil {
			return err
		}
	}
	if r.System, err = system.New(args[1], box, args[2], system.DataDir(box, scenarios[0].OwnDisk)); err != nil {
		return err
	}
	unix.CloseOnExec(resultsFD)
	out := json.NewEncoder(os.NewFile(resultsFD, "results"))
	r.Record = func(figure string, v float64) {
		if err := out.Encode(value{figure, v}); err != nil {
			fmt.Fprintln(os.Stderr, "bench: telling a result:", err)
			os.Exit(1)
		}
	}
	return scenarios[0].Run(ctx, r)
}

// buildWaiter builds the program of the pods' image.
func buildWaiter(ctx context.Context, root string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", load.Waiter(root), "./e2e/webapp")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the pods' program: %w: %s", err, out)
	}
	return nil
}

// keepLog saves what a system wrote in a round that failed.
func keepLog(o options, box *machine.Box, scenario, name string) {
	for _, log := range system.Logs(box) {
		to := filepath.Join(o.root, "build", "bench", fmt.Sprintf("%s-%s-%s", scenario, name, filepath.Base(log)))
		if data, err := os.ReadFile(log); err == nil && os.WriteFile(to, data, 0o600) == nil {
			fmt.Fprintln(os.Stderr, "log kept:", to)
		}
	}
}

// Bench measures hyperkube and upstream's programs side by side on one machine under the same load, and writes what it
// measured as a table.
//
//	bench -scenario list        what there is
//	bench -scenario 'start|idle' -rounds 5
//	bench herd -kubeconfig F    hollow nodes for any cluster
//
// Every round runs in a process of its own inside a box of its own (package machine); a guard removes the box however this
// program ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"hyperkube/e2e/bench/load"
	"hyperkube/e2e/bench/machine"
	"hyperkube/e2e/bench/scenario"
	"hyperkube/e2e/bench/system"
)

type options struct {
	root, work, scenario string
	rounds               int
	systems              []string
	save                 bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch picks the program's part: it is also the door of a box, the guard, the process of one round, and that of a round's readers.
func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case machine.EnterVerb:
			return machine.Enter(args[1:])
		case guardVerb:
			return guard(args[1:])
		case roundVerb:
			load.Thrifty()
			return round(ctx, args[1:])
		case herdVerb:
			return tend(ctx, args[1:])
		case scenario.ReadersVerb:
			load.Thrifty()
			return load.ReadStreams(ctx, os.Stdin, os.Stdout)
		}
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.scenario == "list" {
		for _, s := range scenario.All() {
			fmt.Printf("%-16s %s\n", s.Name, s.Sentence)
		}
		return nil
	}
	return measure(ctx, o)
}

func parse(args []string) (options, error) {
	var o options
	var systems string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.root, "root", ".", "root of the repository")
	f.StringVar(&o.work, "work", os.TempDir(), "directory for the boxes' data")
	f.StringVar(&o.scenario, "scenario", "", "regular expression of the scenarios to run; list prints them")
	f.StringVar(&systems, "systems", strings.Join(system.Names, ","), "systems to measure")
	f.IntVar(&o.rounds, "rounds", 3, "rounds of each scenario")
	f.BoolVar(&o.save, "save", false, "write the results to e2e/bench/RESULTS.md and results.json")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.rounds < 1 || o.rounds > 100 {
		return o, fmt.Errorf("-rounds: %d is not between 1 and 100", o.rounds)
	}
	o.systems = strings.Split(systems, ",")
	for _, s := range o.systems {
		if _, err := system.New(s, nil, "", ""); err != nil {
			return o, err
		}
	}
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		return o, err
	}
	o.work, err = filepath.Abs(o.work)
	return o, err
}

// chosen are the scenarios whose whole name matches.
func chosen(expression string) ([]scenario.Scenario, error) {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return nil, fmt.Errorf("-scenario: %w", err)
	}
	var out []scenario.Scenario
	for _, s := range scenario.All() {
		if expression == "" || re.MatchString(s.Name) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no scenario matches %q; -scenario list prints them", expression)
	}
	return out, nil
}

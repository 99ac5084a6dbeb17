// Package scenario holds what is measured. A scenario is run in rounds, each on a new system in a new box, the systems
// taking turns, so that what else the machine does falls on both alike.
package scenario

import (
	"context"
	"time"

	"hyperkube/e2e/bench/machine"
	"hyperkube/e2e/bench/system"
)

// Figure is one number that a scenario measures, a row of the table.
type Figure struct {
	Name   string
	Unit   string
	Higher bool // more is better
	// Goal for hyperkube alone; 0 is none.
	Goal float64
	// Times is the goal against upstream: how many times better hyperkube is to be; 0 is none.
	Times float64
}

// Scenario is one load and what is measured of it.
type Scenario struct {
	Name string
	// Sentence says what was measured, for those who read the table.
	Sentence string
	Figures  []Figure
	// Limit bounds one round on one system.
	Limit time.Duration
	// OwnDisk puts the data on a block device of its own, so that its writes can be told from others'.
	OwnDisk bool
	// Once is set where every round would give the same.
	Once bool
	// Alone is set where upstream has nothing to compare.
	Alone bool
	Run   func(ctx context.Context, r *Round) error
}

// Round is one run of a scenario on one system.
type Round struct {
	Box    *machine.Box
	System system.System
	Disk   *machine.Disk // with OwnDisk
	Root   string
	// Record takes the value of one of the scenario's figures.
	Record func(figure string, value float64)
}

// All are the scenarios, in the order of the table.
func All() []Scenario {
	all := []Scenario{
		start(), restart(), apiStart(), firstPod(), pods(),
		idle(), idleControl(), loadedNode(),
		create(), get(), list(), patch(), fanOut(), memory(),
	}
	all = append(all, schedules()...)
	all = append(all, herds()...)
	return append(all, proxied(1000, 0, 0), proxied(10000, 1000, 20), size())
}

var controlPlane = system.Options{Parts: []system.Part{system.Controllers, system.Scheduler}}

// costs is the CPU time of one operation: that of the system, and that of the load which shares the processors with it; a figure without a name is not
// wanted. Unlike the time on the clock it does not depend on what else the machine does.
type costs struct{ system, load Figure }

// costOf makes the figures of an operation.
func costOf(operation string) costs {
	return costs{Figure{Name: operation + ", CPU of the servers", Unit: "µs"}, Figure{Name: operation + ", CPU of the load", Unit: "µs"}}
}

// recordCosts runs a load of a number of operations and records what each has cost.
func (r *Round) recordCosts(c costs, operations int, load func() error) error {
	of := []struct {
		figure Figure
		used   func() (time.Duration, error)
		before time.Duration
	}{{c.system, r.Box.CPU, 0}, {c.load, r.Box.LoadCPU, 0}}
	for i := range of {
		var err error
		if of[i].before, err = of[i].used(); err != nil {
			return err
		}
	}
	if err := load(); err != nil {
		return err
	}
	for _, o := range of {
		if o.figure.Name == "" {
			continue
		}
		after, err := o.used()
		if err != nil {
			return err
		}
		r.Record(o.figure.Name, float64((after-o.before).Microseconds())/float64(operations))
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func megabytes(bytes int64) float64        { return float64(bytes) / 1e6 }

package scenario

import (
	"context"
	"time"

	"hyperkube/e2e/bench/machine"
	"hyperkube/e2e/bench/system"
)

// settle is how long a cluster has after its start before it counts as idle; measured is the time of the measurement.
const (
	settle   = 75 * time.Second
	measured = time.Minute
)

func idle() Scenario {
	pss := Figure{Name: "idle cluster, memory (PSS)", Unit: "MB", Goal: 120}
	anonymous := Figure{Name: "idle cluster, memory that is not a file's", Unit: "MB"}
	cpu := Figure{Name: "idle cluster, CPU", Unit: "% of a core", Goal: 0.5}
	written := Figure{Name: "idle cluster, handed to the disk", Unit: "kB/s", Goal: 1}
	device := Figure{Name: "idle cluster, written by the device", Unit: "kB/s"}
	return Scenario{
		Name: "idle",
		Sentence: "A single-node cluster without pods, all its processes, for a minute that begins 75 seconds after the start: proportional memory at its end, " +
			"CPU time by the cgroup, bytes that its processes gave to the disk, and what reached its own block device, journal included.",
		Figures: []Figure{pss, anonymous, cpu, written, device},
		Limit:   4 * time.Minute,
		OwnDisk: true,
		Run: func(ctx context.Context, r *Round) error {
			if err := r.System.Prepare(ctx, system.Options{Parts: system.Whole}); err != nil {
				return err
			}
			if err := r.System.Start(ctx); err != nil {
				return err
			}
			if err := pass(ctx, settle); err != nil {
				return err
			}
			u, err := minute(ctx, r)
			if err != nil {
				return err
			}
			r.Record(pss.Name, megabytes(u.memory.PSS))
			r.Record(anonymous.Name, megabytes(u.memory.Anonymous))
			r.Record(cpu.Name, u.cpu)
			r.Record(written.Name, u.written)
			r.Record(device.Name, u.device)
			return nil
		},
	}
}

// use is what a system on its own disk used over a time.
type use struct {
	memory          machine.Memory // at its end
	cpu             float64        // percent of a core
	written, device float64        // kB/s that the processes gave to the disk, and that the device was given
}

// minute lets a minute go by and gives what the system used.
func minute(ctx context.Context, r *Round) (u use, err error) {
	before, err := usage(r)
	if err != nil {
		return u, err
	}
	if err := pass(ctx, measured); err != nil {
		return u, err
	}
	after, err := usage(r)
	if err != nil {
		return u, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	u.cpu = 100 * (after.cpu - before.cpu).Seconds() / seconds
	u.written = float64(after.written-before.written) / 1e3 / seconds
	u.device = float64(after.device-before.device) / 1e3 / seconds
	u.memory, err = r.Box.Memory()
	return u, err
}

type used struct {
	at              time.Time
	cpu             time.Duration
	written, device int64
}

func usage(r *Round) (u used, err error) {
	u.at = time.Now()
	if u.cpu, err = r.Box.CPU(); err != nil {
		return u, err
	}
	if u.written, err = r.Box.Written(); err != nil {
		return u, err
	}
	u.device, err = r.Disk.Written()
	return u, err
}

// pass lets time go by: what is measured is what happens in it.
func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

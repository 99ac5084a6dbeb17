package fairness

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Handlers serve what is in levels and queues, in upstream's form: a table of values that are parted by commas.
// https://kubernetes.io/docs/reference/debug-cluster/flow-control describes it.
func (f *Fairness) Handlers() map[string]http.Handler {
	const root = "/debug/api_priority_and_fairness/"
	return map[string]http.Handler{
		root + "dump_priority_levels": dump(func(*http.Request) [][]any { return f.dispatch.dumpLevels() }),
		root + "dump_queues":          dump(func(*http.Request) [][]any { return f.dispatch.dumpQueues() }),
		root + "dump_requests": dump(func(r *http.Request) [][]any {
			return f.dispatch.dumpRequests(r.URL.Query().Get("includeRequestDetails") != "")
		}),
	}
}

// dump writes rows, the first of which names the columns.
func dump(rows func(*http.Request) [][]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = writeRows(w, rows(r)) // whoever asked is gone
	})
}

func writeRows(w io.Writer, rows [][]any) error {
	t := tabwriter.NewWriter(w, 8, 0, 1, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = fmt.Sprint(v)
		}
		if _, err := fmt.Fprintln(t, strings.Join(cells, ",\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

func (d *dispatcher) dumpLevels() [][]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := [][]any{{"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
		"DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"}}
	for _, l := range d.order {
		active := 0
		for i := range l.queues {
			if len(l.queues[i].waiting) > 0 {
				active++
			}
		}
		rows = append(rows, []any{l.name, active, l.running+l.waiting == 0, l.leaving, l.waiting, l.running, l.dispatched, l.full, l.timedOut, l.cancelled})
	}
	return rows
}

func (d *dispatcher) dumpQueues() [][]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := [][]any{{"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"}}
	for _, l := range d.order {
		running, seats := make([]int, len(l.queues)), make([]int, len(l.queues))
		for t := range l.executing {
			if t.queue >= 0 && t.queue < len(l.queues) {
				running[t.queue]++
				seats[t.queue] += t.width
			}
		}
		for i := range l.queues {
			q := &l.queues[i]
			first, sum := 0, 0
			for _, t := range q.waiting {
				first += t.first
				sum += t.width
			}
			rows = append(rows, []any{l.name, i, len(q.waiting), running[i], seats[i], seatSeconds(q.start), first, sum, seatSeconds(float64(sum) * guess)})
		}
	}
	return rows
}

func seatSeconds(v float64) string { return fmt.Sprintf("%.8fss", v) }

func (d *dispatcher) dumpRequests(details bool) [][]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	head := []any{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime",
		"InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"}
	if details {
		head = append(head, "UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
	}
	rows := [][]any{head}
	add := func(t *ticket, at int) {
		stamp := func(when time.Time) string { return when.UTC().Format(time.RFC3339Nano) }
		row := []any{t.level.name, t.flow.schema, t.queue, at, t.flow.distinguisher, stamp(t.arrived), t.first, t.last, t.linger, stamp(t.began)}
		if details && t.req != nil {
			who := ""
			if t.req.User != nil {
				who = t.req.User.GetName()
			}
			row = append(row, who, t.req.Verb, t.req.Path, t.req.Namespace, t.req.Name, t.req.APIVersion, t.req.Resource, t.req.Subresource)
		}
		rows = append(rows, row)
	}
	for _, l := range d.order {
		executing := slices.SortedFunc(maps.Keys(l.executing), func(a, b *ticket) int {
			return cmp.Or(cmp.Compare(a.queue, b.queue), a.began.Compare(b.began))
		})
		for _, t := range executing {
			add(t, -1)
		}
		for i := range l.queues {
			for at, t := range l.queues[i].waiting {
				add(t, at)
			}
		}
	}
	return rows
}

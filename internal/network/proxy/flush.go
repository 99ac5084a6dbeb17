package proxy

import (
	"context"
	"sync"

	"hyperkube/internal/network/plan"
)

// watchFlushes has everything written anew when somebody removes the proxy's rules: a firewall that
// reloads, or an administrator's iptables -F.
func (p *Proxy) watchFlushes(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.ready: // before, there is nothing to miss
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, t := range p.tables {
		wg.Go(func() {
			err := t.tools.WatchFor(ctx, plan.Canary, plan.Tables(), func(table string) {
				p.cfg.Log.Warn("somebody removed the service rules, writing them anew", "family", t.tools.Family, "table", table)
				p.askFull("the rules were removed")
			})
			if err != nil {
				p.cfg.Log.Error("cannot watch for removed service rules", "err", err, "writtenAnewEvery", p.cfg.SyncPeriod)
			}
		})
	}
}

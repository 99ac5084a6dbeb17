package proxy

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/google/nftables"

	"hyperkube/internal/network/plan"
)

// canaryCheck is how often the legacy tables are looked at, whose flushes the kernel tells nobody.
const canaryCheck = 30 * time.Second

// watchFlushes has everything written anew when somebody removes the proxy's chains: a firewall that
// reloads, or an administrator's iptables -F.
func (p *Proxy) watchFlushes(ctx context.Context) {
	legacy := false
	for _, t := range p.tables {
		legacy = legacy || !t.tools.NFT
	}
	if !legacy {
		err := p.watchNFT(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		p.cfg.Log.Warn("cannot watch for flushed rules, looking now and then", "err", err)
	}
	tick := time.NewTicker(canaryCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.lookForCanary(ctx)
		}
	}
}

func (p *Proxy) lookForCanary(ctx context.Context) {
	for _, t := range p.tables {
		for _, table := range plan.Tables() {
			saved, err := t.tools.Save(ctx, table)
			if err != nil {
				continue
			}
			if !bytes.Contains(saved, []byte("\n:"+plan.Canary+" ")) {
				p.cfg.Log.Warn("somebody removed the service rules, writing them anew", "table", table)
				p.askFull("the rules were removed")
				return
			}
		}
	}
}

// watchNFT listens to the kernel's events of nftables. The removal of a rule or chain that this proxy did not ask for, in a chain of
// its own, means that somebody flushed.
func (p *Proxy) watchNFT(ctx context.Context) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	monitor := nftables.NewMonitor(nftables.WithMonitorAction(nftables.MonitorActionDel), nftables.WithMonitorObject(nftables.MonitorObjectChains), nftables.WithMonitorEventBuffer(4096))
	events, err := conn.AddMonitor(monitor)
	if err != nil {
		return err
	}
	defer func() { _ = monitor.Close() }() // the events end either way
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return errEventsEnded
			}
			if e.Error != nil {
				return e.Error
			}
			if c, ok := e.Data.(*nftables.Chain); ok && c != nil && strings.HasPrefix(c.Name, plan.Canary) {
				p.cfg.Log.Warn("somebody removed the service rules, writing them anew")
				p.askFull("the rules were removed")
			}
		}
	}
}

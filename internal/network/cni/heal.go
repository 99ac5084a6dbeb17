package cni

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hyperkube/internal/network/apply"
)

// releaseGone releases the attachments of pods that ended while no node process ran.
func (s *Server) releaseGone(ctx context.Context) error {
	for _, a := range s.records.all() {
		if !namespaceGone(a.NetNS) {
			continue
		}
		if err := s.detach(ctx, a); err != nil {
			return err
		}
		s.cfg.Log.Info("released the network of a pod that is gone", "pod", a.Pod, "container", a.ContainerID, "addresses", a.Addresses)
	}
	return nil
}

// heal makes the bridge anew when somebody removes it, and puts the pods back on it.
func (s *Server) heal(ctx context.Context) {
	updates := make(chan netlink.LinkUpdate, 64)
	failed := make(chan error, 1)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	})
	if err != nil {
		s.cfg.Log.Warn("cannot watch the pod bridge", "err", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-failed:
			if ctx.Err() == nil {
				s.cfg.Log.Warn("watching the pod bridge", "err", err)
			}
		case u, ok := <-updates:
			if !ok {
				return
			}
			if u.Header.Type == unix.RTM_DELLINK && int64(u.Index) == s.bridge.Load() && u.Attrs().Name == s.cfg.BridgeName && u.IfInfomsg.Family == unix.AF_UNSPEC {
				s.cfg.Log.Warn("the pod bridge was removed, making it anew", "bridge", s.cfg.BridgeName)
				if err := s.replug(); err != nil {
					s.cfg.Log.Error("cannot make the pod bridge anew", "err", err)
				}
			}
		}
	}
}

func (s *Server) replug() error {
	n, ok := s.Network()
	if !ok {
		return nil
	}
	index, err := ensureBridge(s.cfg.BridgeName, n)
	if err != nil {
		return err
	}
	s.bridge.Store(int64(index))
	var errs []error
	for _, a := range s.records.all() {
		link, err := netlink.LinkByName(a.HostVeth)
		if err == nil {
			err = netlink.LinkSetMasterByIndex(link, index)
		}
		if err == nil && !s.cfg.NoHairpin {
			err = netlink.LinkSetHairpin(link, true)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Cleanup removes everything that a [Server] with this configuration made: interfaces, the bridge, host port rules, the
// runtime's configuration, the socket, the state. No server may run meanwhile. Only
// NetworkName, BridgeName and the paths of cfg are read. Without a BridgeName the bridge is the one that the attachments are
// plugged into, or cni0 when nobody else is plugged into that.
func Cleanup(ctx context.Context, cfg Config) error {
	cfg.Network = func(context.Context, Network) (Network, error) { return Network{}, nil }
	s, err := New(cfg)
	if err != nil {
		return err
	}
	var errs []error
	if cfg.BridgeName == "" {
		s.cfg.BridgeName = s.records.bridge(s.cfg.BridgeName)
	}
	for _, a := range s.records.all() {
		errs = append(errs, unplug(a.HostVeth))
	}
	var missing netlink.LinkNotFoundError
	link, err := netlink.LinkByName(s.cfg.BridgeName)
	switch {
	case err == nil && link.Type() == "bridge" && (cfg.BridgeName != "" || !hasPorts(link)):
		errs = append(errs, netlink.LinkDel(link))
	case err != nil && !errors.As(err, &missing):
		errs = append(errs, err)
	}
	for _, f := range []apply.Family{apply.IPv4, apply.IPv6} {
		errs = append(errs, cleanHostPorts(ctx, f, s.cfg.NetworkName, s.records.all()))
	}
	files := []string{filepath.Join(s.cfg.ConfDir, s.cfg.ConfFile), s.cfg.Socket}
	for _, a := range s.records.all() { // the runtime's library keeps the results of ADD, other clusters' among them
		files = append(files, filepath.Join("/var/lib/cni/results", s.cfg.NetworkName+"-"+a.key()))
	}
	for _, p := range files {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, d := range []string{"/var/lib/cni/results", "/var/lib/cni"} {
		_ = os.Remove(d) // which the library made; others' results stay
	}
	return errors.Join(append(errs, os.RemoveAll(s.cfg.StateDir))...)
}

// bridge is the one that the attachments are plugged into; otherwise when there are none.
func (r *records) bridge(otherwise string) string {
	for _, a := range r.all() {
		veth, err := netlink.LinkByName(a.HostVeth)
		if err != nil || veth.Attrs().MasterIndex == 0 {
			continue
		}
		if b, err := netlink.LinkByIndex(veth.Attrs().MasterIndex); err == nil {
			return b.Attrs().Name
		}
	}
	return otherwise
}

// hasPorts tells whether something is plugged into a bridge; when it cannot be told, yes.
func hasPorts(bridge netlink.Link) bool {
	all, err := netlink.LinkList()
	return err != nil || slices.ContainsFunc(all, func(l netlink.Link) bool { return l.Attrs().MasterIndex == bridge.Attrs().Index })
}

// cleanHostPorts removes a network's host port rules, and the shared chains once nobody uses them.
func cleanHostPorts(ctx context.Context, family apply.Family, network string, attachments []*Attachment) error {
	t, err := apply.Detect(ctx, family)
	if err != nil {
		return nil // a node without the tools never had rules
	}
	nat, err := t.Save(ctx, "nat")
	if err != nil {
		return err
	}
	if !strings.Contains(string(nat), ":"+chainDNAT+" ") {
		return nil
	}
	rules, chains := ownEntries(nat, network)
	for _, a := range attachments {
		chains = appendPresent(chains, nat, podChain(network, a.ContainerID))
	}
	var b strings.Builder
	b.WriteString("*nat\n")
	for _, r := range rules {
		b.WriteString("-D " + r + "\n")
	}
	for _, c := range chains {
		b.WriteString(":" + c + " - [0:0]\n-X " + c + "\n")
	}
	if strings.Count(string(nat), "-A "+chainDNAT+" ") > len(rules) {
		b.WriteString("COMMIT\n") // another network's rules use the shared chains
		return t.Restore(ctx, []byte(b.String()))
	}
	writeLines(&b, apply.PresentJumps(nat, natJumps))
	for _, c := range []string{chainDNAT, chainMark, chainMasq} {
		b.WriteString(":" + c + " - [0:0]\n-X " + c + "\n")
	}
	b.WriteString("COMMIT\n")
	if family == apply.IPv4 {
		filter, err := t.Save(ctx, "filter")
		if err != nil {
			return err
		}
		b.WriteString("*filter\n:" + chainGuard + " - [0:0]\n")
		writeLines(&b, apply.PresentJumps(filter, filterJumps))
		b.WriteString("-X " + chainGuard + "\nCOMMIT\n")
	}
	return t.Restore(ctx, []byte(b.String()))
}

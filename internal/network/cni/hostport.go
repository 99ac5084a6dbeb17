package cni

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hyperkube/internal/network/apply"
)

// hostPorts keeps the translation rules of all attachments of one family. Its tools are looked for at the first use:
// a node without host ports never starts one.
type hostPorts struct {
	family  apply.Family
	network string
	records *records
	log     *slog.Logger

	mu    sync.Mutex
	tools *apply.IPTables
	built bool
}

// add makes the rules of an attachment that is already among the records.
func (h *hostPorts) add(ctx context.Context, a *Attachment) error {
	chain, entries := podRules(h.network, a, h.family)
	if len(entries) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.built {
		var b strings.Builder
		fmt.Fprintf(&b, "*nat\n:%s - [0:0]\n", podChain(h.network, a.ContainerID))
		writeLines(&b, chain)
		for _, e := range entries {
			fmt.Fprintf(&b, "-I %s\n", e)
		}
		b.WriteString("COMMIT\n")
		err := h.tools.Restore(ctx, []byte(b.String()))
		if err == nil {
			return h.forgetFlows(a)
		}
		h.log.Warn("host port rules are not as they were left, making them anew", "err", err)
	}
	if err := h.rebuild(ctx, ""); err != nil {
		return err
	}
	return h.forgetFlows(a)
}

// remove takes the rules of an attachment away. It must still be among the records.
func (h *hostPorts) remove(ctx context.Context, a *Attachment) error {
	_, entries := podRules(h.network, a, h.family)
	if len(entries) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.built {
		name := podChain(h.network, a.ContainerID)
		var b strings.Builder
		fmt.Fprintf(&b, "*nat\n:%s - [0:0]\n", name)
		for _, e := range entries {
			fmt.Fprintf(&b, "-D %s\n", e)
		}
		fmt.Fprintf(&b, "-X %s\nCOMMIT\n", name)
		err := h.tools.Restore(ctx, []byte(b.String()))
		if err == nil {
			return h.forgetFlows(a)
		}
		h.log.Warn("host port rules are not as they were left, making them anew", "err", err)
	}
	if err := h.rebuild(ctx, a.key()); err != nil {
		return err
	}
	return h.forgetFlows(a)
}

// rebuild makes the rules of all records but that of the key without anew, and removes those of this network that no record asks for.
func (h *hostPorts) rebuild(ctx context.Context, without string) error {
	if h.tools == nil {
		t, err := apply.Detect(ctx, h.family)
		if err != nil {
			return fmt.Errorf("host ports: %w", err)
		}
		h.tools = t
	}
	nat, err := h.tools.Save(ctx, "nat")
	if err != nil {
		return fmt.Errorf("host ports: %w", err)
	}
	filter, err := h.tools.Save(ctx, "filter")
	if err != nil {
		return fmt.Errorf("host ports: %w", err)
	}
	var b strings.Builder
	b.WriteString(baseRules(h.family, nat, filter, h.tools.RandomFully))
	oldRules, oldChains := ownEntries(nat, h.network)
	for _, r := range oldRules {
		fmt.Fprintf(&b, "-D %s\n", r)
	}
	made := map[string]bool{}
	for _, a := range h.records.all() {
		chain, entries := podRules(h.network, a, h.family)
		name := podChain(h.network, a.ContainerID)
		if a.key() == without {
			oldChains = appendPresent(oldChains, nat, name)
		}
		if a.key() == without || len(entries) == 0 {
			continue
		}
		made[name] = true
		fmt.Fprintf(&b, ":%s - [0:0]\n", name)
		writeLines(&b, chain)
		for _, e := range entries {
			fmt.Fprintf(&b, "-A %s\n", e)
		}
	}
	for _, c := range oldChains {
		if !made[c] {
			fmt.Fprintf(&b, ":%s - [0:0]\n-X %s\n", c, c)
		}
	}
	b.WriteString("COMMIT\n")
	if err := h.tools.Restore(ctx, []byte(b.String())); err != nil {
		h.built = false
		return fmt.Errorf("host ports: %w", err)
	}
	h.built = true
	return nil
}

// appendPresent adds a chain that is in saved and that no rule led to any more, as after somebody's flush.
func appendPresent(chains []string, saved []byte, name string) []string {
	if slices.Contains(chains, name) || !strings.Contains(string(saved), "\n:"+name+" ") {
		return chains
	}
	return append(chains, name)
}

// forgetFlows drops the kernel's memory of UDP flows to the attachment's host ports, which would keep going where they went before.
func (h *hostPorts) forgetFlows(a *Attachment) error {
	ports := map[uint16]bool{}
	mappings, _, _ := hostPortsOf(a, h.family)
	for _, m := range mappings {
		if strings.EqualFold(m.Protocol, "udp") {
			ports[uint16(m.HostPort)] = true
		}
	}
	if len(ports) == 0 {
		return nil
	}
	return apply.ForgetFlows(h.family, func(f *netlink.ConntrackFlow) bool {
		return f.Forward.Protocol == unix.IPPROTO_UDP && ports[f.Forward.DstPort]
	})
}

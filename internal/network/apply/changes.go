package apply

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// legacyCheck is how often the legacy tables are looked at, of whose changes the kernel tells nobody.
const legacyCheck = 30 * time.Second

// WatchFor calls missing whenever a change by anybody may have left a chain of one of the tables without rules or removed
// it, until ctx ends. With the nft tools that is at once and costs nothing while nothing changes; with the legacy tools it is
// within half a minute. It returns early only with an error.
func (t *IPTables) WatchFor(ctx context.Context, chain string, tables []string, missing func(table string)) error {
	if !t.NFT {
		return t.watchLegacy(ctx, chain, tables, missing)
	}
	events, err := generations(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-events:
			if !ok || ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			for _, table := range tables {
				if t.ruleless(table, chain) {
					missing(table)
				}
			}
		}
	}
}

// ruleless asks the kernel for the rules of one nftables chain. An error counts as rules: the next change asks again.
func (t *IPTables) ruleless(table, chain string) bool {
	conn, err := nftables.New()
	if err != nil {
		return false
	}
	family := nftables.TableFamilyIPv4
	if t.Family == IPv6 {
		family = nftables.TableFamilyIPv6
	}
	tab := &nftables.Table{Name: table, Family: family}
	rules, err := conn.GetRules(tab, &nftables.Chain{Name: chain, Table: tab})
	if err != nil {
		return errors.Is(err, unix.ENOENT)
	}
	return len(rules) == 0
}

// generations gives a value after each transaction of nftables in this network namespace. Values coalesce.
func generations(ctx context.Context) (<-chan error, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "nftables events")
	if err := subscribe(fd); err != nil {
		file.Close()
		return nil, err
	}
	events := make(chan error, 1)
	context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		defer close(events)
		buf := make([]byte, 65536)
		for {
			_, err := file.Read(buf)
			if errors.Is(err, unix.ENOBUFS) {
				err = nil // events were lost, and so something happened
			}
			select {
			case events <- err:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return events, nil
}

// subscribe asks for the events of nftables, and has the kernel drop all but the end of a transaction: one write
// of all rules would give a hundred thousand.
func subscribe(fd int) error {
	newGen := make([]byte, 2)
	binary.NativeEndian.PutUint16(newGen, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	const typeOffset = 4 // in struct nlmsghdr
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: typeOffset, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(newGen)), SkipFalse: 1},
		bpf.RetConstant{Val: 65536},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES))
}

// watchLegacy looks at the number of entries of each table, which costs a system call, and at the rules when it changed.
func (t *IPTables) watchLegacy(ctx context.Context, chain string, tables []string, missing func(table string)) error {
	tick := time.NewTicker(legacyCheck)
	defer tick.Stop()
	seen := map[string]uint32{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, table := range tables {
			n, err := t.entries(table)
			if err != nil {
				return err
			}
			if n == seen[table] {
				continue
			}
			saved, err := t.Save(ctx, table)
			if err != nil {
				continue // looked at again at the next tick
			}
			seen[table] = n
			if !hasRule(saved, chain) {
				missing(table)
			}
		}
	}
}

func hasRule(saved []byte, chain string) bool {
	for rule := range ruleSet(saved) {
		if len(rule) > len("-A ")+len(chain) && rule[len("-A "):len("-A ")+len(chain)+1] == chain+" " {
			return true
		}
	}
	return false
}

// entries asks the kernel for the size of a legacy table: IPT_SO_GET_INFO of linux/netfilter_ipv4/ip_tables.h.
func (t *IPTables) entries(table string) (uint32, error) {
	const getInfo = 64
	domain, level := unix.AF_INET, unix.IPPROTO_IP
	if t.Family == IPv6 {
		domain, level = unix.AF_INET6, unix.IPPROTO_IPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	var info struct {
		name                  [32]byte
		hooks                 uint32
		entry, underflow      [5]uint32
		numEntries, tableSize uint32
	}
	copy(info.name[:], table)
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("size of the %s table: %w", table, errno)
	}
	return info.numEntries, nil
}

package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Attachment is one interface of one pod, as it is kept on disk.
type Attachment struct {
	ContainerID string         `json:"containerID"`
	IfName      string         `json:"ifName"`
	NetNS       string         `json:"netns"`
	Pod         string         `json:"pod,omitempty"`
	HostVeth    string         `json:"hostVeth"`
	Addresses   []netip.Prefix `json:"addresses"`
	HostPorts   []PortMapping  `json:"hostPorts,omitempty"`
}

func (a *Attachment) key() string { return a.ContainerID + "-" + a.IfName }

// records are the attachments of this node, in memory and on disk, and the addresses they hold.
type records struct {
	dir string

	mu     sync.Mutex
	byKey  map[string]*Attachment
	holder map[netip.Addr]string // address → key
	last   map[netip.Prefix]netip.Addr
}

// openRecords reads the directory. A file that cannot be read as an attachment was torn by a crash of the machine, after
// which no pod lives: it is removed and reported through torn.
func openRecords(dir string, torn func(path string, err error)) (*records, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cni state: %w", err)
	}
	r := &records{dir: dir, byKey: map[string]*Attachment{}, holder: map[netip.Addr]string{}, last: map[netip.Prefix]netip.Addr{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cni state: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(path, ".tmp") {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("cni state: %w", err)
			}
			continue
		}
		if !strings.HasSuffix(path, ".json") {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cni state: %w", err)
		}
		var a Attachment
		if err := json.Unmarshal(data, &a); err != nil {
			torn(path, err)
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("cni state: %w", err)
			}
			continue
		}
		r.hold(&a)
	}
	return r, nil
}

func (r *records) hold(a *Attachment) {
	r.byKey[a.key()] = a
	for _, p := range a.Addresses {
		r.holder[p.Addr()] = a.key()
	}
}

// get the attachment; nil if there is none.
func (r *records) get(key string) *Attachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byKey[key]
}

func (r *records) all() []*Attachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Attachment, 0, len(r.byKey))
	for _, a := range r.byKey {
		out = append(out, a)
	}
	return out
}

// allocate gives the attachment one free address of each subnet and stores it.
func (r *records) allocate(a *Attachment, subnets []netip.Prefix) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.Addresses = nil
	for _, s := range subnets {
		ip, err := r.free(s)
		if err != nil {
			return err
		}
		a.Addresses = append(a.Addresses, netip.PrefixFrom(ip, s.Bits()))
		r.last[s] = ip
	}
	if err := r.write(a); err != nil {
		return err
	}
	r.hold(a)
	return nil
}

// ErrNoAddress tells that every address of the node's subnet is in use.
var ErrNoAddress = errors.New("no free address in the node's subnet")

// free finds the address after the one given last, so that one just released is not given
// to another pod while peers still talk to it.
func (r *records) free(s netip.Prefix) (netip.Addr, error) {
	first := gateway(s).Next()
	start := first
	if last, ok := r.last[s]; ok {
		start = last.Next()
	}
	ip := start
	for wrapped := false; ; ip = ip.Next() {
		if !s.Contains(ip) || isBroadcast(s, ip) {
			if wrapped {
				return netip.Addr{}, fmt.Errorf("%w %v", ErrNoAddress, s)
			}
			wrapped, ip = true, first
			if !s.Contains(ip) || isBroadcast(s, ip) {
				return netip.Addr{}, fmt.Errorf("%w %v", ErrNoAddress, s)
			}
		}
		if r.holder[ip] == "" {
			return ip, nil
		}
		if wrapped && ip == start {
			return netip.Addr{}, fmt.Errorf("%w %v", ErrNoAddress, s)
		}
	}
}

func isBroadcast(s netip.Prefix, ip netip.Addr) bool {
	return ip.Is4() && s.Bits() < 31 && !s.Contains(ip.Next())
}

func (r *records) path(key string) string { return filepath.Join(r.dir, key+".json") }

// write stores the attachment whole or not at all. It does not wait for the disk: after a power cut there
// are no pods left to keep addresses for.
func (r *records) write(a *Attachment) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	tmp := r.path(a.key()) + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("cni state: %w", err)
	}
	if err := os.Rename(tmp, r.path(a.key())); err != nil {
		return fmt.Errorf("cni state: %w", err)
	}
	return nil
}

// release forgets the attachment and frees its addresses.
func (r *records) release(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Remove(r.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cni state: %w", err)
	}
	if a := r.byKey[key]; a != nil {
		for _, p := range a.Addresses {
			delete(r.holder, p.Addr())
		}
		delete(r.byKey, key)
	}
	return nil
}

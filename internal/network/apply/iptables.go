package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Family is a version of the Internet Protocol.
type Family int

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string { return "IPv" + strconv.Itoa(int(f)) }

// LockWait is how long a tool waits for the xtables lock that another program holds.
const LockWait = 5 * time.Second

// Hints are chains that the kubelet (upstream's or ours) leaves in the mangle table of the backend that the node
// uses, so that programs in containers find the same one.
// https://kubernetes.io/blog/2022/09/07/iptables-chains-not-api/
var hints = []string{"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"}

// IPTables is one backend of the xtables tools for one family. Its methods may be called from several goroutines.
type IPTables struct {
	Family Family
	// NFT tells that the tools keep the rules in nftables rather than in the legacy tables.
	NFT bool
	// RandomFully tells that MASQUERADE knows --random-fully (iptables 1.6.2).
	RandomFully bool

	save, restore string
	mu            sync.Mutex
}

// Detect finds the backend to use. The one with the kubelet's hint chains wins, then the machine's default
// ("iptables" in the path, which the administrator chose). An error means that the machine has no usable tools
// or that its kernel lacks the nat table of this family.
func Detect(ctx context.Context, family Family) (*IPTables, error) {
	base := "iptables"
	if family == IPv6 {
		base = "ip6tables"
	}
	t, err := tools(ctx, base, family)
	if err != nil {
		return nil, err
	}
	if other := otherBackend(base, t.NFT); hinted(ctx, other) && !hinted(ctx, t.save) {
		if o, err := tools(ctx, strings.TrimSuffix(other, "-save"), family); err == nil {
			t = o
		}
	}
	if _, err := t.Save(ctx, "nat"); err != nil {
		return nil, fmt.Errorf("this node cannot do %v network address translation: %w", family, err)
	}
	return t, nil
}

// Missing tells, in words for people, which of the tools for the packet filter are not on this machine.
func Missing() error {
	for _, tool := range []string{"iptables", "iptables-save", "iptables-restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on this machine: services and the network of pods need iptables, which every distribution has as a package", tool)
		}
	}
	return nil
}

func tools(ctx context.Context, base string, family Family) (*IPTables, error) {
	out, err := exec.CommandContext(ctx, base, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("the iptables tools are needed: %w", err)
	}
	version := string(out)
	t := &IPTables{
		Family:      family,
		NFT:         strings.Contains(version, "nf_tables"),
		RandomFully: versionAtLeast(version, 1, 6, 2),
		save:        base + "-save",
		restore:     base + "-restore",
	}
	for _, tool := range []string{t.save, t.restore} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("the iptables tools are needed: %w", err)
		}
	}
	return t, nil
}

func otherBackend(base string, nft bool) string {
	if nft {
		return base + "-legacy-save"
	}
	return base + "-nft-save"
}

func hinted(ctx context.Context, save string) bool {
	if strings.Contains(save, "legacy") && !legacyInUse(save) {
		return false // asking would create the legacy tables
	}
	out, err := exec.CommandContext(ctx, save, "-t", "mangle").Output()
	if err != nil {
		return false
	}
	for _, h := range hints {
		if bytes.Contains(out, []byte("\n:"+h+" ")) {
			return true
		}
	}
	return false
}

func legacyInUse(save string) bool {
	names := "/proc/thread-self/net/ip_tables_names" // /proc/net is that of the process's first thread
	if strings.HasPrefix(save, "ip6") {
		names = "/proc/thread-self/net/ip6_tables_names"
	}
	b, err := os.ReadFile(names)
	return err == nil && len(b) > 0
}

// versionAtLeast reads "iptables v1.8.9 (nf_tables)".
func versionAtLeast(out string, want ...int) bool {
	_, v, ok := strings.Cut(out, " v")
	if !ok {
		return false
	}
	v, _, _ = strings.Cut(strings.TrimSpace(v), " ")
	parts := strings.Split(v, ".")
	for i, w := range want {
		if i >= len(parts) {
			return false
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n != w {
			return err == nil && n > w
		}
	}
	return true
}

// Save gives a table's rules in the form of iptables-save.
func (t *IPTables) Save(ctx context.Context, table string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.save, "-t", table)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, toolError(t.save, err, stderr.String())
	}
	return out, nil
}

// Restore applies text, in the form of iptables-restore, without flushing what it does not name. Either all
// lines of a table take effect or none.
func (t *IPTables) Restore(ctx context.Context, text []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	cmd := exec.CommandContext(ctx, t.restore, "--noflush", "-w", strconv.Itoa(int(LockWait/time.Second)))
	cmd.Stdin = bytes.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return &RestoreError{toolError(t.restore, err, stderr.String()), failedLine(text, stderr.String())}
	}
	return nil
}

// RestoreError is a restore that the tool refused.
type RestoreError struct {
	err error
	// Line is the input line that the tool named, empty if it named none.
	Line string
}

func (e *RestoreError) Error() string {
	if e.Line == "" {
		return e.err.Error()
	}
	return e.err.Error() + ": " + strconv.Quote(e.Line)
}

func (e *RestoreError) Unwrap() error { return e.err }

// failedLine finds "line 12 failed" or "Error occurred at line: 12" in what the tool said.
func failedLine(text []byte, said string) string {
	for _, before := range []string{"at line: ", "line "} {
		_, rest, ok := strings.Cut(said, before)
		if !ok {
			continue
		}
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			continue
		}
		lines := bytes.Split(text, []byte("\n"))
		if n >= 1 && n <= len(lines) {
			return string(lines[n-1])
		}
	}
	return ""
}

func toolError(tool string, err error, said string) error {
	said = strings.TrimSpace(said)
	var exit *exec.ExitError
	if errors.As(err, &exit) && said != "" {
		return fmt.Errorf("%s: %w: %s", tool, err, said)
	}
	return fmt.Errorf("%s: %w", tool, err)
}

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kernelSettings are the settings of the whole machine (of its network namespace) that a node switches on.
var kernelSettings = []string{
	"net/ipv4/ip_forward",
	"net/ipv4/conf/all/route_localnet",
	"net/ipv6/conf/all/forwarding",
}

// Kernel are settings below /proc/sys as they were at the node's first start since the machine's last one.
type Kernel struct {
	Boot   string            `json:"boot"`
	Before map[string]string `json:"before"`
}

const (
	sysDir  = "/proc/sys"
	bootIDs = "kernel/random/boot_id"
)

// orCurrent is k, or what the kernel says now when k is of an earlier run of the machine: that run's changes are gone.
func (k *Kernel) orCurrent() *Kernel {
	boot, err := readSetting(bootIDs)
	if err != nil {
		return k
	}
	if k != nil && k.Boot == boot {
		return k
	}
	k = &Kernel{Boot: boot, Before: map[string]string{}}
	for _, name := range kernelSettings {
		if v, err := readSetting(name); err == nil { // a kernel without IPv6 has fewer
			k.Before[name] = v
		}
	}
	return k
}

// Restore gives the kernel's settings back the values that they had before the node's start. A machine that did not
// forward packets before must not be left doing so without the rules that went with it. Whoever else relies on a setting that the
// node found off must switch it on itself.
func (k *Kernel) Restore() error {
	if k == nil {
		return nil
	}
	if boot, err := readSetting(bootIDs); err != nil || boot != k.Boot {
		return err
	}
	var errs []error
	for _, name := range kernelSettings {
		before, known := k.Before[name]
		if now, err := readSetting(name); !known || err != nil || now == before {
			continue
		}
		if err := os.WriteFile(filepath.Join(sysDir, name), []byte(before), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("kernel setting %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func readSetting(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(sysDir, name))
	return strings.TrimSpace(string(text)), err
}

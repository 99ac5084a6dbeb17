package cni

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// FromSubnetFile gives a Config.Network that follows the file that a flannel daemon, ours or upstream's, in another
// process writes (/run/flannel/subnet.env): FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU.
func FromSubnetFile(path string) func(context.Context, Network) (Network, error) {
	return func(ctx context.Context, previous Network) (Network, error) {
		dir := filepath.Dir(path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Network{}, err
		}
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return Network{}, err
		}
		defer w.Close()
		if err := w.Add(dir); err != nil { // the file itself is replaced, so its directory is watched
			return Network{}, err
		}
		for {
			n, err := readSubnetFile(path)
			if err == nil && !n.Equal(previous) {
				return n, nil
			}
			if err != nil && !os.IsNotExist(err) {
				return Network{}, err
			}
			select {
			case <-ctx.Done():
				return Network{}, ctx.Err()
			case _, ok := <-w.Events:
				if !ok {
					return Network{}, fmt.Errorf("watching %s ended", dir)
				}
			case err := <-w.Errors:
				return Network{}, fmt.Errorf("watching %s: %w", dir, err)
			}
		}
	}
}

func readSubnetFile(path string) (Network, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Network{}, err
	}
	var n Network
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		k, v, _ := strings.Cut(lines.Text(), "=")
		switch k {
		case "FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET":
			p, err := netip.ParsePrefix(v)
			if err != nil {
				return Network{}, fmt.Errorf("%s: %s: %w", path, k, err)
			}
			n.Subnets = append(n.Subnets, p.Masked())
		case "FLANNEL_MTU":
			if n.MTU, err = strconv.Atoi(v); err != nil {
				return Network{}, fmt.Errorf("%s: %s: %w", path, k, err)
			}
		}
	}
	if len(n.Subnets) == 0 || n.MTU == 0 {
		return Network{}, fmt.Errorf("%s has no FLANNEL_SUBNET or no FLANNEL_MTU", path)
	}
	return n, nil
}

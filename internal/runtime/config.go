package runtime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

const grpcServer = "io.containerd.server.v1.grpc"

// containerd is the configuration that a TOML file of version 4 would give.
func (c *Config) containerd(ctx context.Context, helpers string) (*srvconfig.Config, error) {
	if c.Snapshotter == "" {
		c.Snapshotter = snapshotter(c.Root)
	}
	sc := &srvconfig.Config{
		Version:         version.ConfigVersion,
		Root:            c.Root,
		State:           c.State,
		RequiredPlugins: []string{"io.containerd.grpc.v1.cri"},
		// etcd in the same process registers gRPC's metrics under the same names.
		DisabledPlugins: []string{"io.containerd.metrics.v1.grpc-prometheus", "io.containerd.metrics.v1.grpc-otel"},
		Plugins: map[string]any{
			grpcServer:                      map[string]any{"address": c.Socket},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": c.Socket + ".ttrpc"},
			// The collector wakes after 1/pause_threshold times what a collection took, at least 5 ms: with the
			// default of 0.02 four times a second, whether there is anything to do or not.
			"io.containerd.gc.v1.scheduler":   map[string]any{"pause_threshold": 0.0005},
			"io.containerd.shim.v1.manager":   map[string]any{"socket_dir": shimSocketDir(c.State)},
			"io.containerd.cri.v1.images":     c.images(),
			"io.containerd.cri.v1.runtime":    c.cri(helpers),
			"io.containerd.grpc.v1.cri":       map[string]any{"stream_server_address": "127.0.0.1", "stream_server_port": "0"},
			"io.containerd.transfer.v1.local": map[string]any{"unpack_config": []map[string]any{{"platform": "linux", "snapshotter": c.Snapshotter, "differ": "walking"}}},
		},
		Timeouts:         map[string]string{},
		ProxyPlugins:     map[string]srvconfig.ProxyPlugin{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
	}
	if c.ConfigFile == "" {
		return sc, nil
	}
	return overlay(ctx, sc, c.ConfigFile, c.Socket)
}

func (c *Config) images() map[string]any {
	return map[string]any{
		"snapshotter":   c.Snapshotter,
		"pinned_images": map[string]any{"sandbox": c.PauseImage},
		"registry":      map[string]any{"config_path": c.RegistryDir},
		// The disk use of every running container is measured by walking its files: each minute is often enough.
		"stats_collect_period": 60,
		// Pulls run in the daemon and unpack for the snapshotter above.
		"use_local_image_pull": true,
	}
}

func (c *Config) cri(helpers string) map[string]any {
	return map[string]any{
		"enable_selinux":               false,
		"restrict_oom_score_adj":       !hasCapability(capSysResource),
		"netns_mounts_under_state_dir": true,
		"enable_criu":                  false,
		// The kubelet reads cgroups itself when it is asked: no sampling of every container each second.
		"stats_collect_period": "24h",
		"cni": map[string]any{
			"bin_dirs":              append([]string{helpers}, c.CNIBinDirs...),
			"conf_dir":              c.CNIConfDir,
			"use_internal_loopback": true,
		},
		"containerd": map[string]any{
			"default_runtime_name": "runc",
			"runtimes": map[string]any{"runc": map[string]any{
				"runtime_type": "io.containerd.runc.v2",
				"runtime_path": filepath.Join(helpers, helperShim),
				"options": map[string]any{
					"BinaryName":    filepath.Join(helpers, helperRunc),
					"Root":          filepath.Join(c.State, "runc"),
					"SystemdCgroup": false,
				},
			}},
		},
	}
}

// overlay lays a configuration file over the built-in configuration: tables are merged key by key, all
// else is replaced.
func overlay(ctx context.Context, base *srvconfig.Config, file, socket string) (*srvconfig.Config, error) {
	user := &srvconfig.Config{
		Version:          version.ConfigVersion,
		ProxyPlugins:     map[string]srvconfig.ProxyPlugin{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
		Timeouts:         map[string]string{},
	}
	if err := srvconfig.LoadConfigWithPlugins(ctx, file, registered, user); err != nil {
		return nil, fmt.Errorf("containerd configuration %s: %w", file, err)
	}
	merge(base.Plugins, user.Plugins)
	user.Plugins = base.Plugins
	user.RequiredPlugins = append(user.RequiredPlugins, base.RequiredPlugins...)
	user.DisabledPlugins = append(user.DisabledPlugins, base.DisabledPlugins...)
	// The directories and the socket are the caller's: others rely on them.
	user.Root, user.State = base.Root, base.State
	user.Plugins[grpcServer].(map[string]any)["address"] = socket
	return user, nil
}

func registered() iter.Seq[plugin.Registration] {
	return slices.Values(registry.Graph(func(*plugin.Registration) bool { return false }))
}

func merge(dst, src map[string]any) {
	for k, v := range src {
		from, isTable := v.(map[string]any)
		to, wasTable := dst[k].(map[string]any)
		if isTable && wasTable {
			merge(to, from)
			continue
		}
		dst[k] = v
	}
}

// snapshotter is native where overlayfs does not work, such as on top of another overlay.
func snapshotter(root string) string {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "overlayfs" // Start reports the directory.
	}
	if overlayutils.Supported(root) != nil {
		return "native"
	}
	return "overlayfs"
}

// shimSocketDir is below state unless the paths of the sockets, directory/<64 hex digits>, would be longer than the kernel
// allows; then it is a short directory named after state.
func shimSocketDir(state string) string {
	dir := filepath.Join(state, "s")
	if len(dir)+1+2*sha256.Size <= 107 {
		return dir
	}
	sum := sha256.Sum256([]byte(state))
	return "/run/hyperkube-shims/" + hex.EncodeToString(sum[:6])
}

const capSysResource = 24

// hasCapability tells whether the process has a capability. Without CAP_SYS_RESOURCE containers cannot get a lower
// oom_score_adj than our own, and the CRI must not try.
func hasCapability(bit uint) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(status) {
		if hex, ok := strings.CutPrefix(string(line), "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && caps&(1<<bit) != 0
		}
	}
	return false
}

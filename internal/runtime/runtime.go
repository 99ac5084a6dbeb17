// Package runtime is the container runtime: containerd inside the process, configured in code with the plugins
// that the CRI needs, its helper programs (runc, the shim, the CNI plugin) laid out from the binary, and the pause image at
// hand. It is the only package that knows containerd; everybody else speaks CRI to the socket.
//
// [Start] returns when the CRI answers and the pause image is there. [Runtime.Stop] ends the daemon only:
// shims and containers run on and are found again by the next Start with the same directories. What has to go for good goes by
// [Cleanup], which needs no daemon. All that a runtime writes is below Root (images, snapshots, helpers) and State
// (sockets, bundles, network namespaces), so several run on one machine side by side, each in a process of its own:
// containerd's registries are global, and one process can start it once.
//
// Containerd's own fatal errors end the goroutine they happen in, not the process; they are logged
// as errors, and [Runtime.Failed] tells of them.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/cmd/containerd/server"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/version"

	"hyperkube/internal/boltcheck"
)

// Config of a runtime. Root, State and Socket have no default.
type Config struct {
	// Root keeps images, snapshots and metadata over reboots.
	Root string
	// State keeps what lives as long as the machine is up: bundles, network namespaces, sockets of shims.
	State string
	// Socket is the path on which the CRI and containerd's own API are served, mode 0600.
	Socket string
	// HelperDir is where the helper programs are laid out, Root/helpers by default.
	HelperDir string
	// CNIConfDir is where network configurations are looked for, State/cni by default.
	CNIConfDir string
	// CNIBinDirs are searched for plugins after the embedded ones, /opt/cni/bin by default.
	CNIBinDirs []string
	// PauseImage is the full name of the image that holds a pod's namespaces, [DefaultPauseImage] by default.
	// Under that name it is made from the binary; any other one is pulled.
	PauseImage string
	// RegistryDir has a directory with a hosts.toml for each registry; /etc/containerd/certs.d by default.
	RegistryDir string
	// Snapshotter is overlayfs where the file system of Root allows it, else native.
	Snapshotter string
	// ConfigFile is a containerd configuration (TOML, version 4) laid over the built-in one.
	ConfigFile string
	// Log is slog.Default by default.
	Log *slog.Logger
}

// DefaultPauseImage is what upstream's kubelets expect.
const DefaultPauseImage = "registry.k8s.io/pause:3.10"

func (c *Config) complete() error {
	if c.Root == "" || c.State == "" || c.Socket == "" {
		return errors.New("runtime: Root, State and Socket are needed")
	}
	for _, p := range []*string{&c.Root, &c.State, &c.Socket} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("runtime: %w", err)
		}
		*p = abs
	}
	if len(c.Socket) > maxSocketPath {
		return fmt.Errorf("runtime: socket path %s is longer than the kernel's %d bytes", c.Socket, maxSocketPath)
	}
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.HelperDir, filepath.Join(c.Root, "helpers"))
	set(&c.CNIConfDir, filepath.Join(c.State, "cni"))
	set(&c.PauseImage, DefaultPauseImage)
	set(&c.RegistryDir, "/etc/containerd/certs.d")
	if c.CNIBinDirs == nil {
		c.CNIBinDirs = []string{"/opt/cni/bin"}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "containerd")
	return nil
}

// maxSocketPath leaves room for the ".ttrpc" of containerd's second socket in the kernel's 107 bytes.
const maxSocketPath = 107 - len(".ttrpc")

// Runtime is the running daemon.
type Runtime struct {
	cfg    Config
	srv    *server.Server
	ready  chan struct{}
	failed <-chan struct{}
	stop   sync.Once
}

// started is containerd's limit, not ours: its plugin and metric registries are global.
var started atomic.Bool

// Start starts containerd. ctx bounds the start; the daemon runs until Stop.
func Start(ctx context.Context, c Config) (*Runtime, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	helpers, err := layOut(c.HelperDir)
	if err != nil {
		return nil, err
	}
	// What the release's linker flags would say: the version is the module's, and there is no unknown build of it.
	version.Version = strings.TrimSuffix(version.Version, "+unknown")
	if started.Swap(true) {
		return nil, errors.New("runtime: containerd was started in this process before; it can be started once")
	}
	sc, err := c.containerd(ctx, helpers)
	if err != nil {
		return nil, err
	}
	if err := prepare(&c, helpers); err != nil {
		return nil, err
	}
	if err := server.CreateTopLevelDirectories(sc); err != nil {
		return nil, fmt.Errorf("runtime directories: %w", err)
	}
	if err := mount.SetTempMountLocation(filepath.Join(sc.Root, "tmpmounts")); err != nil {
		return nil, fmt.Errorf("runtime directories: %w", err)
	}
	if warnings, err := mount.CleanupTempMounts(0); err != nil || len(warnings) > 0 {
		c.Log.Warn("left-over temporary mounts", "error", errors.Join(append(warnings, err)...))
	}
	if err := checkDatabases(c.Root); err != nil {
		return nil, err
	}
	r := &Runtime{cfg: c, ready: make(chan struct{}), failed: bridgeLogs(c.Log)}
	run := context.WithoutCancel(ctx)
	if r.srv, err = server.New(run, sc); err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	if err := r.srv.Start(run); err != nil {
		r.Stop()
		return nil, fmt.Errorf("containerd: %w", err)
	}
	for _, socket := range []string{c.Socket, c.Socket + ".ttrpc"} {
		if err := os.Chmod(socket, 0o600); err != nil { // Containerd lets the group in.
			r.Stop()
			return nil, fmt.Errorf("runtime socket: %w", err)
		}
	}
	if err := r.settle(ctx); err != nil {
		r.Stop()
		return nil, err
	}
	close(r.ready)
	return r, nil
}

// checkDatabases reads containerd's databases before containerd does, which would crash on a damaged one.
func checkDatabases(root string) error {
	for _, db := range []string{"io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs/metadata.db"} {
		if err := boltcheck.File(filepath.Join(root, db)); err != nil {
			return fmt.Errorf("containerd: %w; images and containers are recorded there: without %s the runtime starts anew, with neither", err, root)
		}
	}
	return nil
}

// settle waits for the CRI and then sees to the pause image.
func (r *Runtime) settle(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		r.srv.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-r.failed:
		return errors.New("containerd: the CRI service failed; its reason is in the log")
	case <-ctx.Done():
		return fmt.Errorf("containerd is not ready yet: %w", context.Cause(ctx))
	}
	return ensurePause(ctx, r.cfg.Socket, r.cfg.PauseImage)
}

// prepare makes what containerd expects to exist.
func prepare(c *Config, helpers string) error {
	for _, d := range []string{filepath.Dir(c.Socket), c.State, c.CNIConfDir} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("runtime directories: %w", err)
		}
	}
	if err := os.MkdirAll(shimSocketDir(c.State), 0o700); err != nil {
		return fmt.Errorf("directory of shim sockets: %w", err)
	}
	// Containerd finds the shims of containers that outlived it, and the shim finds runc, by PATH only.
	if err := os.Setenv("PATH", helpers+":"+os.Getenv("PATH")); err != nil {
		return fmt.Errorf("runtime: %w", err)
	}
	return nil
}

// Ready is closed when the CRI answers, which it does once Start has returned.
func (r *Runtime) Ready() <-chan struct{} { return r.ready }

// Failed is closed when a part of containerd met an error that it holds for fatal.
func (r *Runtime) Failed() <-chan struct{} { return r.failed }

// Endpoint is the CRI endpoint, "unix:///…".
func (r *Runtime) Endpoint() string { return "unix://" + r.cfg.Socket }

// Stop ends the daemon; containers run on.
func (r *Runtime) Stop() {
	r.stop.Do(func() { r.srv.Stop() })
}

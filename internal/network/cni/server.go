package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/cni/wire"
)

// Server answers the plugin. Make it with [New], then call [Server.Run] once.
type Server struct {
	cfg     Config
	records *records
	ports   []*hostPorts
	ready   chan struct{}

	listening chan struct{}
	heard     sync.Once

	// network and bridge are set before the configuration is published, and again when the node's subnet changes.
	network atomic.Pointer[Network]
	bridge  atomic.Int64

	mu   sync.Mutex
	busy map[string]*containerLock // by container
}

type containerLock struct {
	sync.Mutex
	users int
}

// New opens the stored attachments. It changes nothing in the kernel.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, ready: make(chan struct{}), listening: make(chan struct{}), busy: map[string]*containerLock{}}
	var err error
	s.records, err = openRecords(cfg.StateDir, func(path string, err error) {
		cfg.Log.Warn("dropped an unreadable attachment", "path", path, "err", err)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range []apply.Family{apply.IPv4, apply.IPv6} {
		s.ports = append(s.ports, &hostPorts{family: f, network: cfg.NetworkName, records: s.records, log: cfg.Log})
	}
	return s, nil
}

// Ready is closed once pods can be given a network: the bridge stands and the runtime's configuration is written.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Listening is closed once the plugin is answered: networks are given back from then on.
func (s *Server) Listening() <-chan struct{} { return s.listening }

// Network is the network in use; false before [Server.Ready].
func (s *Server) Network() (Network, bool) {
	n := s.network.Load()
	if n == nil {
		return Network{}, false
	}
	return *n, true
}

// Run serves until ctx ends. The configuration stays in the runtime's directory afterwards, so that the plugin can
// say that the node process is away.
func (s *Server) Run(ctx context.Context) error {
	listener, err := listen(s.cfg.Socket)
	if err != nil {
		return err
	}
	if err := s.releaseGone(ctx); err != nil {
		listener.Close()
		return err
	}
	s.heard.Do(func() { close(s.listening) })
	var wg sync.WaitGroup
	wg.Go(func() { s.accept(ctx, listener) })
	wg.Go(func() { s.heal(ctx) })
	err = s.followNetwork(ctx)
	listener.Close()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cni socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cni socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cni socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("cni socket: %w", err)
	}
	return l, nil
}

// followNetwork makes the bridge fit each network that the overlay gives, and tells the runtime.
func (s *Server) followNetwork(ctx context.Context) error {
	var have Network
	for {
		next, err := s.cfg.Network(ctx, have)
		if err != nil {
			return fmt.Errorf("the node's pod network: %w", err)
		}
		if len(next.Subnets) == 0 || next.MTU <= 0 {
			return fmt.Errorf("the node's pod network %+v has no subnet or no MTU", next)
		}
		first := s.network.Load() == nil
		if err := s.use(ctx, next); err != nil {
			return err
		}
		have = next
		s.cfg.Log.Info("pod network is up", "bridge", s.cfg.BridgeName, "subnets", next.Subnets, "mtu", next.MTU)
		if first {
			close(s.ready)
		}
	}
}

func (s *Server) use(ctx context.Context, n Network) error {
	index, err := ensureBridge(s.cfg.BridgeName, n)
	if err != nil {
		return err
	}
	s.network.Store(&n)
	s.bridge.Store(int64(index))
	if err := s.restoreHostPorts(ctx); err != nil {
		return err
	}
	return s.writeConfig()
}

// restoreHostPorts makes the rules of attachments that an earlier process left.
func (s *Server) restoreHostPorts(ctx context.Context) error {
	for _, h := range s.ports {
		for _, a := range s.records.all() {
			if _, _, ok := hostPortsOf(a, h.family); !ok {
				continue
			}
			h.mu.Lock()
			err := h.rebuild(ctx, "")
			h.mu.Unlock()
			if err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// writeConfig gives the runtime its network configuration, whole or not at all. Version 1.0.0 and not 1.1.0:
// from that on runtimes start the plugin for STATUS again and again, which a node at rest should not pay for.
func (s *Server) writeConfig() error {
	conf := map[string]any{
		"cniVersion": "1.0.0",
		"name":       s.cfg.NetworkName,
		"plugins": []any{map[string]any{
			"type":         s.cfg.PluginName,
			"socket":       s.cfg.Socket,
			"capabilities": map[string]bool{"portMappings": true},
		}},
	}
	data, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(s.cfg.ConfDir, s.cfg.ConfFile)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return nil
	}
	if err := os.MkdirAll(s.cfg.ConfDir, 0o755); err != nil {
		return fmt.Errorf("cni configuration: %w", err)
	}
	// The runtime reads *.conf, *.conflist and *.json only.
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("cni configuration: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("cni configuration: %w", err)
	}
	return nil
}

func (s *Server) accept(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.cfg.Log.Warn("cannot accept a plugin's call", "err", err)
			select { // out of file descriptors: they come back when calls end
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		wg.Go(func() { s.serve(ctx, conn) })
	}
}

// serve answers one call. The work is not cut off when ctx ends, since a half-made attachment helps nobody.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.cfg.Log.Warn("plugin connection", "err", err)
		return
	}
	data, err := io.ReadAll(io.LimitReader(conn, 4<<20))
	if err != nil {
		s.cfg.Log.Warn("cannot read a plugin's call", "err", err)
		return
	}
	var req wire.Request
	var resp wire.Response
	if err := json.Unmarshal(data, &req); err != nil {
		resp.Error = &wire.Error{CNIVersion: wire.Newest, Code: wire.CodeDecode, Msg: "cannot decode the call", Details: err.Error()}
	} else {
		err := lifecycle.Guard(func() error { resp = s.call(context.WithoutCancel(ctx), &req); return nil })
		if err != nil {
			s.cfg.Log.Error("a plugin's call failed", "command", req.Command, "container", req.ContainerID, "error", err)
			resp.Error = &wire.Error{CNIVersion: wire.Newest, Code: wire.CodeInternal, Msg: "the call failed within", Details: err.Error()}
		}
	}
	out, err := json.Marshal(resp)
	if err == nil {
		_, err = conn.Write(out)
	}
	if err != nil {
		s.cfg.Log.Warn("cannot answer a plugin", "command", req.Command, "container", req.ContainerID, "err", err)
	}
}

// lock keeps other calls for the container out until the returned function is called.
func (s *Server) lock(container string) func() {
	s.mu.Lock()
	l := s.busy[container]
	if l == nil {
		l = &containerLock{}
		s.busy[container] = l
	}
	l.users++
	s.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(s.busy, container)
		}
	}
}

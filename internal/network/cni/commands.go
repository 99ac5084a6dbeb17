package cni

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"hyperkube/internal/network/cni/wire"
)

// netConf is what this plugin reads of its network configuration.
type netConf struct {
	CNIVersion    string `json:"cniVersion"`
	Name          string `json:"name"`
	RuntimeConfig struct {
		PortMappings []PortMapping `json:"portMappings"`
	} `json:"runtimeConfig"`
	ValidAttachments []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	} `json:"cni.dev/valid-attachments"`
}

// result is the success document of the specification from version 0.3.0 on.
type result struct {
	CNIVersion string        `json:"cniVersion"`
	Interfaces []resultIface `json:"interfaces"`
	IPs        []resultIP    `json:"ips"`
	Routes     []resultRoute `json:"routes"`
	DNS        struct{}      `json:"dns"`
}

type resultIface struct {
	Name    string `json:"name"`
	Mac     string `json:"mac,omitempty"`
	Sandbox string `json:"sandbox,omitempty"`
}

type resultIP struct {
	Version   string `json:"version,omitempty"` // up to 0.4.0
	Interface int    `json:"interface"`
	Address   string `json:"address"`
	Gateway   string `json:"gateway"`
}

type resultRoute struct {
	Dst string `json:"dst"`
	GW  string `json:"gw"`
}

// call carries out one command and turns its error into CNI's.
func (s *Server) call(ctx context.Context, req *wire.Request) wire.Response {
	conf := netConf{CNIVersion: wire.Newest}
	began := time.Now()
	v, err := s.dispatch(ctx, req, &conf)
	log := s.cfg.Log.With("command", req.Command, "pod", podName(req.Args), "container", req.ContainerID, "took", time.Since(began))
	if err != nil {
		log.Warn("pod network command failed", "err", err)
		var e *wire.Error
		if !errors.As(err, &e) {
			e = &wire.Error{Code: wire.CodeInternal, Msg: err.Error()}
		}
		e.CNIVersion = conf.CNIVersion
		return wire.Response{Error: e}
	}
	log.Debug("pod network command done")
	if v == nil {
		return wire.Response{}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return wire.Response{Error: &wire.Error{CNIVersion: conf.CNIVersion, Code: wire.CodeInternal, Msg: err.Error()}}
	}
	return wire.Response{Result: data}
}

func (s *Server) dispatch(ctx context.Context, req *wire.Request, conf *netConf) (any, error) {
	if err := json.Unmarshal(req.Config, conf); err != nil {
		return nil, &wire.Error{Code: wire.CodeDecode, Msg: "cannot decode the network configuration", Details: err.Error()}
	}
	if !slices.Contains(wire.Versions(), conf.CNIVersion) {
		return nil, &wire.Error{Code: wire.CodeIncompatibleVersion, Msg: "unknown CNI version " + conf.CNIVersion}
	}
	switch req.Command {
	case "ADD", "DEL", "CHECK":
		if err := validNames(req); err != nil {
			return nil, err
		}
		defer s.lock(req.ContainerID)()
	}
	switch req.Command {
	case "ADD":
		return s.add(ctx, req, conf)
	case "DEL":
		return nil, s.del(ctx, req)
	case "CHECK":
		return nil, s.check(req)
	case "GC":
		return nil, s.gc(ctx, conf)
	case "STATUS":
		return nil, s.status()
	}
	return nil, &wire.Error{Code: wire.CodeInvalidEnvironment, Msg: "unknown CNI_COMMAND " + req.Command}
}

var (
	containerIDForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,200}$`)
	ifNameForm      = regexp.MustCompile(`^[^\s/:.][^\s/:]{0,14}$`)
)

// validNames keeps names out that could not be files or interfaces.
func validNames(req *wire.Request) error {
	if !containerIDForm.MatchString(req.ContainerID) {
		return &wire.Error{Code: wire.CodeInvalidEnvironment, Msg: "invalid CNI_CONTAINERID", Details: req.ContainerID}
	}
	if !ifNameForm.MatchString(req.IfName) {
		return &wire.Error{Code: wire.CodeInvalidEnvironment, Msg: "invalid CNI_IFNAME", Details: req.IfName}
	}
	if req.NetNS == "" && req.Command != "DEL" {
		return &wire.Error{Code: wire.CodeInvalidEnvironment, Msg: "CNI_NETNS is not set"}
	}
	return nil
}

func (s *Server) add(ctx context.Context, req *wire.Request, conf *netConf) (any, error) {
	network, ok := s.Network()
	if !ok {
		return nil, &wire.Error{Code: wire.CodeTryAgainLater, Msg: "the node has no pod subnet yet"}
	}
	if namespaceGone(req.NetNS) {
		return nil, &wire.Error{Code: wire.CodeUnknownContainer, Msg: "no network namespace at " + req.NetNS}
	}
	a := &Attachment{
		ContainerID: req.ContainerID, IfName: req.IfName, NetNS: req.NetNS, Pod: podName(req.Args),
		HostVeth: hostVethName(req.ContainerID, req.IfName),
	}
	for _, m := range conf.RuntimeConfig.PortMappings {
		if m.HostPort == 0 { // runtimes pass every declared port
			continue
		}
		if err := m.valid(); err != nil {
			return nil, &wire.Error{Code: wire.CodeInvalidConfig, Msg: err.Error()}
		}
		a.HostPorts = append(a.HostPorts, m)
	}
	if old := s.records.get(a.key()); old != nil { // an ADD that was cut off, or a runtime that forgot
		if err := s.detach(ctx, old); err != nil {
			return nil, err
		}
	}
	if err := s.records.allocate(a, network.Subnets); err != nil {
		return nil, err
	}
	host, pod, err := s.attach(ctx, a, network)
	if err != nil {
		return nil, errors.Join(err, s.detach(ctx, a))
	}
	return s.result(a, conf.CNIVersion, host, pod), nil
}

func (s *Server) attach(ctx context.Context, a *Attachment, n Network) (host, pod net.HardwareAddr, err error) {
	host, pod, err = plug(a, int(s.bridge.Load()), n.MTU, !s.cfg.NoHairpin)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range s.ports {
		if err := h.add(ctx, a); err != nil {
			return nil, nil, err
		}
	}
	return host, pod, nil
}

// detach undoes attach, whatever part of it was done.
func (s *Server) detach(ctx context.Context, a *Attachment) error {
	for _, h := range s.ports {
		if err := h.remove(ctx, a); err != nil {
			return err
		}
	}
	if err := unplug(a.HostVeth); err != nil {
		return err
	}
	return s.records.release(a.key())
}

func (s *Server) result(a *Attachment, version string, host, pod net.HardwareAddr) result {
	r := result{CNIVersion: version, Interfaces: []resultIface{
		{Name: s.cfg.BridgeName},
		{Name: a.HostVeth, Mac: host.String()},
		{Name: a.IfName, Mac: pod.String(), Sandbox: a.NetNS},
	}}
	for _, p := range a.Addresses {
		ip := resultIP{Interface: 2, Address: p.String(), Gateway: gateway(p).String()}
		if version < "1" {
			ip.Version = "4"
			if p.Addr().Is6() {
				ip.Version = "6"
			}
		}
		r.IPs = append(r.IPs, ip)
		r.Routes = append(r.Routes, resultRoute{Dst: anywhere(p).String(), GW: gateway(p).String()})
	}
	return r
}

// del succeeds for an attachment that is not known: the specification wants DEL to be repeatable.
func (s *Server) del(ctx context.Context, req *wire.Request) error {
	a := s.records.get((&Attachment{ContainerID: req.ContainerID, IfName: req.IfName}).key())
	if a == nil {
		return unplug(hostVethName(req.ContainerID, req.IfName))
	}
	return s.detach(ctx, a)
}

func (s *Server) check(req *wire.Request) error {
	a := s.records.get((&Attachment{ContainerID: req.ContainerID, IfName: req.IfName}).key())
	if a == nil {
		return &wire.Error{Code: wire.CodeUnknownContainer, Msg: "no such attachment"}
	}
	return checkPlugged(a)
}

// gc releases attachments that the runtime does not name.
func (s *Server) gc(ctx context.Context, conf *netConf) error {
	valid := map[string]bool{}
	for _, v := range conf.ValidAttachments {
		valid[(&Attachment{ContainerID: v.ContainerID, IfName: v.IfName}).key()] = true
	}
	var errs []error
	for _, a := range s.records.all() {
		if !valid[a.key()] {
			errs = append(errs, s.detachLocked(ctx, a))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) detachLocked(ctx context.Context, a *Attachment) error {
	defer s.lock(a.ContainerID)()
	if s.records.get(a.key()) != a {
		return nil
	}
	return s.detach(ctx, a)
}

func (s *Server) status() error {
	if _, ok := s.Network(); !ok {
		return &wire.Error{Code: wire.CodeNotAvailable, Msg: "the node has no pod subnet yet"}
	}
	return nil
}

// podName reads the namespace and name of the pod from CNI_ARGS as the kubelet's runtimes fill it.
func podName(args string) string {
	var namespace, name string
	for _, kv := range strings.Split(args, ";") {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "K8S_POD_NAMESPACE":
			namespace = v
		case "K8S_POD_NAME":
			name = v
		}
	}
	if name == "" {
		return ""
	}
	return namespace + "/" + name
}

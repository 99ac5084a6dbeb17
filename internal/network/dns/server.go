package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
)

// udpSize is how large an answer over UDP may be: what passes every link in one piece (https://dnsflagday.net/2020/).
const udpSize = 1232

// Server is a name server. Make it with [New], then call [Server.Run] once.
type Server struct {
	cfg     Config
	c       client.Interface
	zone    *zone
	forward *forwarder
	ready   chan struct{}
}

// New checks the configuration.
func New(c client.Interface, cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return newServer(c, cfg), nil
}

func newServer(c client.Interface, cfg Config) *Server {
	s := &Server{cfg: cfg, c: c, ready: make(chan struct{})}
	s.zone = &zone{domain: cfg.Domain, self: func() []netip.Addr {
		if cfg.ClusterIP.IsValid() {
			return []netip.Addr{cfg.ClusterIP}
		}
		return cfg.BindAddresses
	}}
	s.forward = newForwarder(cfg.CacheSize, func(a netip.AddrPort) bool {
		return a.Addr() == cfg.ClusterIP || a.Port() == cfg.Port && slices.Contains(cfg.BindAddresses, a.Addr())
	}, cfg.Log)
	return s
}

// Ready is closed once the server answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := client.NewInformers(s.c)
	objects := newInformers(f)
	s.zone.store = objects
	f.Start(ctx)
	if err := f.WaitForSync(ctx); err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, s.serve(ctx, func() {
		if s.cfg.NodeName != "" {
			go func() { _ = Announce(ctx, s.c, s.cfg.NodeName, s.cfg.reachable()) }() // it ends with ctx
		}
	}))
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serve listens on all addresses, calls started and answers until ctx ends or a listener fails.
func (s *Server) serve(ctx context.Context, started func()) error {
	if len(s.cfg.Upstreams) > 0 {
		var addresses []string
		for _, u := range s.cfg.Upstreams {
			a, err := upstreamAddress(u, "53")
			if err != nil {
				return err
			}
			addresses = append(addresses, a)
		}
		s.forward.use(addresses)
	} else if err := s.forward.follow(ctx, s.cfg.ResolvConf); err != nil {
		s.cfg.Log.Warn("cannot follow the node's resolvers", "err", err)
	}
	servers, err := s.listen(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, len(servers))
	for _, srv := range servers {
		go func() { failed <- srv.ActivateAndServe() }()
	}
	s.cfg.Log.Info("cluster DNS answers", "addresses", s.cfg.BindAddresses, "port", s.cfg.Port, "domain", s.cfg.Domain)
	close(s.ready)
	started()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, srv := range servers {
		if l := srv.Listener; l != nil {
			l.Close()
		}
		if p := srv.PacketConn; p != nil {
			p.Close()
		}
	}
	return err
}

// listen binds all addresses, which need not exist yet: the pod bridge may come up later, and go and come again.
func (s *Server) listen(ctx context.Context) (servers []*dns.Server, err error) {
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		})
		return errors.Join(err, failed)
	}}
	defer func() {
		if err == nil {
			return
		}
		for _, srv := range servers {
			if srv.Listener != nil {
				srv.Listener.Close()
			} else {
				srv.PacketConn.Close()
			}
		}
	}()
	for _, ip := range s.cfg.BindAddresses {
		address := netip.AddrPortFrom(ip, s.cfg.Port).String()
		packets, err := lc.ListenPacket(ctx, "udp", address)
		if err != nil {
			return servers, fmt.Errorf("dns: %w", err)
		}
		servers = append(servers, &dns.Server{PacketConn: packets, Handler: s, UDPSize: udpSize})
		stream, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return servers, fmt.Errorf("dns: %w", err)
		}
		servers = append(servers, &dns.Server{Listener: stream, Handler: s, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second})
	}
	return servers, nil
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	var m *dns.Msg
	err := lifecycle.Guard(func() error { m = s.answer(context.Background(), r); return nil })
	if err != nil { // The library has no guard of its own around a question.
		s.cfg.Log.Error("a question could not be answered", "error", err)
		m = new(dns.Msg)
		m.SetRcode(r, dns.RcodeServerFailure)
	}
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), udpSize)
		}
	}
	m.Compress = true
	m.Truncate(size)
	if err := w.WriteMsg(m); err != nil {
		s.cfg.Log.Debug("cannot send an answer", "to", w.RemoteAddr(), "err", err)
	}
}

func (s *Server) answer(ctx context.Context, r *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(r)
	m.RecursionAvailable = true
	if opt := r.IsEdns0(); opt != nil {
		if opt.Version() != 0 {
			m.SetEdns0(udpSize, false)
			m.Rcode = dns.RcodeBadVers
			return m
		}
		m.SetEdns0(udpSize, opt.Do())
	}
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		m.Rcode = dns.RcodeNotImplemented
		return m
	}
	q := r.Question[0]
	name := strings.ToLower(q.Name)
	if labels, ours := s.zone.below(name); ours {
		s.answerZone(ctx, m, q, name, labels)
		return m
	}
	if ip, ok := reverseAddress(name); ok {
		if records := s.zone.reverse(q.Name, ip); len(records) > 0 {
			m.Authoritative = true
			if q.Qtype == dns.TypePTR {
				m.Answer = records
			}
			return m
		}
	}
	s.answerElsewhere(ctx, m, q)
	return m
}

func (s *Server) answerZone(ctx context.Context, m *dns.Msg, q dns.Question, name string, labels []string) {
	m.Authoritative = true
	f := found{}
	if q.Qclass == dns.ClassINET || q.Qclass == dns.ClassANY {
		f = s.zone.lookup(name, labels, q.Qtype)
	}
	m.Answer = f.records
	for _, rr := range m.Answer { // in the asker's spelling
		if strings.EqualFold(rr.Header().Name, q.Name) {
			rr.Header().Name = q.Name
		}
	}
	rand.Shuffle(len(m.Answer), func(i, j int) { m.Answer[i], m.Answer[j] = m.Answer[j], m.Answer[i] })
	m.Extra = append(m.Extra, f.extra...)
	if f.alias != "" && q.Qtype != dns.TypeCNAME {
		s.chase(ctx, m, f.alias, q, 8)
	}
	if len(m.Answer) == 0 {
		if !f.exists {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = []dns.RR{s.zone.soa()}
	}
}

// chase adds what an alias leads to. If that cannot be found out the alias alone is the answer.
func (s *Server) chase(ctx context.Context, m *dns.Msg, alias string, q dns.Question, hops int) {
	for ; hops > 0; hops-- {
		labels, ours := s.zone.below(alias)
		if !ours {
			break
		}
		f := s.zone.lookup(alias, labels, q.Qtype)
		m.Answer = append(m.Answer, f.records...)
		if f.alias == "" {
			return
		}
		alias = f.alias
	}
	r, err := s.forward.ask(ctx, dns.Question{Name: alias, Qtype: q.Qtype, Qclass: q.Qclass}, false)
	if err != nil {
		s.cfg.Log.Debug("cannot resolve an external service's name", "name", alias, "err", err)
		return
	}
	m.Answer = append(m.Answer, r.Answer...)
}

func (s *Server) answerElsewhere(ctx context.Context, m *dns.Msg, q dns.Question) {
	dnssec := false
	if opt := m.IsEdns0(); opt != nil {
		dnssec = opt.Do()
	}
	r, err := s.forward.ask(ctx, q, dnssec)
	if err != nil {
		s.cfg.Log.Debug("cannot resolve", "name", q.Name, "type", dns.TypeToString[q.Qtype], "err", err)
		m.Rcode = dns.RcodeServerFailure
		return
	}
	m.Rcode, m.Answer, m.Ns = r.Rcode, r.Answer, r.Ns
	for _, rr := range r.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			m.Extra = append(m.Extra, rr)
		}
	}
}

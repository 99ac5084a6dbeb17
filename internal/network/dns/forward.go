package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	// upstreamTimeout is how long one resolver is waited for, askTimeout all of them: clients give up after five seconds.
	upstreamTimeout = 2 * time.Second
	askTimeout      = 4 * time.Second
	// restTime is how long a resolver that did not answer is asked last.
	restTime = 5 * time.Second
	// maxForwards is how many questions may wait for upstream resolvers at a time.
	maxForwards = 1000
)

var (
	errNoUpstream = errors.New("this node has no other resolvers")
	errBusy       = errors.New("too many questions wait for other resolvers")
	errAllDown    = errors.New("no other resolver answers just now")
)

// forwarder asks the node's own resolvers.
type forwarder struct {
	log   *slog.Logger
	cache *cache
	// own tells which addresses are this server's: a node that uses its own cluster's DNS would ask itself forever.
	own func(netip.AddrPort) bool

	upstreams atomic.Pointer[[]*upstream]
	flights   singleflight.Group
	slots     chan struct{}
	probe     sync.Mutex // held while a resolver is asked although none answered lately
}

// upstream is one resolver.
type upstream struct {
	address string
	mu      sync.Mutex
	failed  time.Time
}

func (u *upstream) resting(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return now.Sub(u.failed) < restTime
}

func (u *upstream) note(failed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failed = time.Time{}
	if failed {
		u.failed = time.Now()
	}
}

func newForwarder(size int, own func(netip.AddrPort) bool, log *slog.Logger) *forwarder {
	f := &forwarder{log: log, cache: newCache(size), own: own, slots: make(chan struct{}, maxForwards)}
	f.upstreams.Store(&[]*upstream{})
	return f
}

// use replaces the resolvers.
func (f *forwarder) use(addresses []string) {
	var list []*upstream
	for _, a := range addresses {
		if host, err := netip.ParseAddrPort(a); err == nil && f.own(host) {
			f.log.Warn("a resolver of this node is the cluster's own DNS, leaving it out", "address", a)
			continue
		}
		list = append(list, &upstream{address: a})
	}
	if len(list) == 0 {
		f.log.Warn("this node has no resolvers, only the cluster's own names resolve")
	}
	f.upstreams.Store(&list)
}

// follow keeps to the resolvers of a resolv.conf until ctx ends. A file that cannot be read leaves the ones known.
func (f *forwarder) follow(ctx context.Context, path string) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	if err := w.Add(filepath.Dir(path)); err != nil { // editors replace the file
		w.Close()
		return fmt.Errorf("watch %s: %w", path, err)
	}
	var have []string
	read := func() {
		conf, err := dns.ClientConfigFromFile(path)
		if err != nil {
			f.log.Warn("cannot read the node's resolvers", "path", path, "err", err)
			return
		}
		var addresses []string
		for _, s := range conf.Servers {
			if a, err := upstreamAddress(s, conf.Port); err == nil {
				addresses = append(addresses, a)
			}
		}
		if have == nil || !slices.Equal(have, addresses) {
			have = addresses
			f.use(addresses)
		}
	}
	read()
	go func() {
		defer w.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-w.Events:
				if !ok {
					return
				}
				if filepath.Base(e.Name) == filepath.Base(path) && !e.Has(fsnotify.Chmod) && !e.Has(fsnotify.Remove) {
					read()
				}
			case err := <-w.Errors:
				f.log.Warn("watching the node's resolvers", "path", path, "err", err)
			}
		}
	}()
	return nil
}

func upstreamAddress(s, port string) (string, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.String(), nil
	}
	host, _, _ := strings.Cut(s, "%") // a scoped address keeps its zone below
	if _, err := netip.ParseAddr(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(s, port), nil
}

// ask gives the resolvers' answer to a question, or an error if none answers. The answer is the caller's own.
func (f *forwarder) ask(ctx context.Context, q dns.Question, dnssec bool) (*dns.Msg, error) {
	key := cacheKey{strings.ToLower(q.Name), q.Qtype, dnssec}
	cacheable := q.Qclass == dns.ClassINET
	if cacheable {
		if m, ok := f.cache.get(key, time.Now()); ok {
			return m, nil
		}
	}
	flight := fmt.Sprintf("%s %d %d %v", key.name, q.Qtype, q.Qclass, dnssec)
	v, err, _ := f.flights.Do(flight, func() (any, error) {
		select {
		case f.slots <- struct{}{}:
		default:
			return nil, errBusy
		}
		defer func() { <-f.slots }()
		m, err := f.exchange(context.WithoutCancel(ctx), q, dnssec)
		if err == nil && cacheable {
			f.cache.put(key, m, time.Now())
		}
		return m, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*dns.Msg).Copy(), nil
}

func (f *forwarder) exchange(ctx context.Context, q dns.Question, dnssec bool) (*dns.Msg, error) {
	list := slices.Clone(*f.upstreams.Load())
	if len(list) == 0 {
		return nil, errNoUpstream
	}
	now := time.Now()
	var awake, resting []*upstream
	for _, u := range list {
		if u.resting(now) {
			resting = append(resting, u)
		} else {
			awake = append(awake, u)
		}
	}
	if len(awake) == 0 {
		// One question finds out whether a resolver is back. The others need not wait for it.
		if !f.probe.TryLock() {
			return nil, errAllDown
		}
		defer f.probe.Unlock()
		awake = []*upstream{resting[rand.IntN(len(resting))]}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var errs []error
	for _, u := range awake {
		m, err := u.ask(ctx, q, dnssec)
		u.note(err != nil)
		if err == nil {
			return m, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", u.address, err))
	}
	return nil, errors.Join(errs...)
}

// ask tries UDP, and TCP for an answer that does not fit.
func (u *upstream) ask(ctx context.Context, q dns.Question, dnssec bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired = true
	m.Question = []dns.Question{q}
	m.SetEdns0(udpSize, dnssec)
	c := &dns.Client{Timeout: upstreamTimeout, UDPSize: udpSize}
	r, _, err := c.ExchangeContext(ctx, m, u.address)
	if err == nil && r.Truncated {
		c.Net = "tcp"
		r, _, err = c.ExchangeContext(ctx, m, u.address)
	}
	if err != nil {
		return nil, err
	}
	if len(r.Question) != 1 || !strings.EqualFold(r.Question[0].Name, q.Name) || r.Question[0].Qtype != q.Qtype {
		return nil, errors.New("answered another question")
	}
	if r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeRefused {
		return nil, fmt.Errorf("answered %s", dns.RcodeToString[r.Rcode])
	}
	return r, nil
}

package dns

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// How long answers of upstream resolvers are kept at most.
const (
	maxTTL         = time.Hour
	maxNegativeTTL = 30 * time.Second
)

type cacheKey struct {
	name   string
	qtype  uint16
	dnssec bool
}

// cache keeps answers of upstream resolvers, the ones used last.
type cache struct {
	size int

	mu    sync.Mutex
	order *list.List // of *cached, the one used last in front
	byKey map[cacheKey]*list.Element
}

type cached struct {
	key    cacheKey
	msg    *dns.Msg
	stored time.Time
	ttl    time.Duration
}

func newCache(size int) *cache {
	return &cache{size: size, order: list.New(), byKey: map[cacheKey]*list.Element{}}
}

// get gives a copy of the answer with what is left of its time to live.
func (c *cache) get(k cacheKey, now time.Time) (*dns.Msg, bool) {
	c.mu.Lock()
	e, ok := c.byKey[k]
	if !ok {
		c.mu.Unlock()
		return nil, false
	}
	v := e.Value.(*cached)
	age := now.Sub(v.stored)
	if age >= v.ttl {
		c.remove(e)
		c.mu.Unlock()
		return nil, false
	}
	c.order.MoveToFront(e)
	c.mu.Unlock()
	m := v.msg.Copy()
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl -= min(h.Ttl, uint32(age.Seconds()))
			}
		}
	}
	return m, true
}

// put keeps an answer that may be kept. The message must not be changed afterwards.
func (c *cache) put(k cacheKey, m *dns.Msg, now time.Time) {
	ttl := lifetime(m)
	if ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
		c.remove(e)
	}
	c.byKey[k] = c.order.PushFront(&cached{k, m, now, ttl})
	for c.order.Len() > c.size {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	delete(c.byKey, e.Value.(*cached).key)
	c.order.Remove(e)
}

// lifetime is how long an answer may be kept: its shortest record's time to live, or for one that says that there is nothing, the
// zone's (RFC 2308). Failures and truncated answers are not kept.
func lifetime(m *dns.Msg) time.Duration {
	if m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	if m.Rcode == dns.RcodeNameError || len(m.Answer) == 0 {
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second, maxNegativeTTL)
			}
		}
		return 0
	}
	ttl := maxTTL
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
		}
	}
	return ttl
}

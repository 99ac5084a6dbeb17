package nodeipam

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"sync"
)

// ranges gives out the subnets of one size of a prefix, in order from where it left off, so that a range
// just given back is used again as late as possible. Safe for concurrent use.
type ranges struct {
	mu     sync.Mutex
	whole  netip.Prefix
	bits   int      // of one subnet
	count  int      // of subnets
	used   []uint64 // bitmap
	cursor int
}

// widest bounds the bitmap: 2^20 subnets.
const widest = 20

func newRanges(whole netip.Prefix, subnet int) (*ranges, error) {
	whole = whole.Masked()
	if subnet < whole.Bits() || subnet > whole.Addr().BitLen() {
		return nil, fmt.Errorf("nodes cannot have ranges of /%d out of %s", subnet, whole)
	}
	if subnet-whole.Bits() > widest {
		return nil, fmt.Errorf("ranges of /%d out of %s are more than 2^%d", subnet, whole, widest)
	}
	n := 1 << (subnet - whole.Bits())
	return &ranges{whole: whole, bits: subnet, count: n, used: make([]uint64, (n+63)/64)}, nil
}

// next gives out a free subnet.
func (r *ranges) next() (netip.Prefix, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.count {
		i := (r.cursor + k) % r.count
		if r.used[i/64]&(1<<(i%64)) == 0 {
			r.used[i/64] |= 1 << (i % 64)
			r.cursor = (i + 1) % r.count
			return r.subnet(i), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no range of /%d is left in %s", r.bits, r.whole)
}

// take marks all subnets that overlap p as given out; giveBack frees them. What lies outside is ignored.
func (r *ranges) take(p netip.Prefix)     { r.mark(p, true) }
func (r *ranges) giveBack(p netip.Prefix) { r.mark(p, false) }

func (r *ranges) mark(p netip.Prefix, used bool) {
	p = p.Masked()
	if p.Addr().Is4() != r.whole.Addr().Is4() || !p.Overlaps(r.whole) {
		return
	}
	first, n := 0, r.count
	if p.Bits() > r.whole.Bits() {
		first = r.index(p.Addr())
		n = 1
		if p.Bits() < r.bits {
			n = 1 << (r.bits - p.Bits())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := first; i < first+n; i++ {
		if used {
			r.used[i/64] |= 1 << (i % 64)
		} else {
			r.used[i/64] &^= 1 << (i % 64)
		}
	}
}

// free counts the subnets left.
func (r *ranges) free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.count
	for _, w := range r.used {
		n -= bits.OnesCount64(w)
	}
	return n
}

func (r *ranges) subnet(i int) netip.Prefix {
	hi, lo := words(r.whole.Addr())
	shift := r.whole.Addr().BitLen() - r.bits
	addHi, addLo := shl(uint64(i), shift)
	lo, carry := bits.Add64(lo, addLo, 0)
	hi, _ = bits.Add64(hi, addHi, carry)
	return netip.PrefixFrom(address(hi, lo, r.whole.Addr().Is4()), r.bits)
}

func (r *ranges) index(a netip.Addr) int {
	hi, lo := words(a)
	baseHi, baseLo := words(r.whole.Addr())
	lo, borrow := bits.Sub64(lo, baseLo, 0)
	hi, _ = bits.Sub64(hi, baseHi, borrow)
	shift := r.whole.Addr().BitLen() - r.bits
	if shift >= 64 {
		return int(hi >> (shift - 64))
	}
	return int(lo>>shift | hi<<(64-shift))
}

func shl(v uint64, n int) (hi, lo uint64) {
	if n >= 64 {
		return v << (n - 64), 0
	}
	if n == 0 {
		return 0, v
	}
	return v >> (64 - n), v << n
}

func words(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		b := a.As4()
		return 0, uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func address(hi, lo uint64, v4 bool) netip.Addr {
	if v4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

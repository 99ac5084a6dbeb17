package nodeipam

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		whole       string
		bits        int
		first, next string
		count       int
	}{
		{"10.244.0.0/16", 24, "10.244.0.0/24", "10.244.1.0/24", 256},
		{"10.244.7.9/16", 26, "10.244.0.0/26", "10.244.0.64/26", 1024},
		{"fd00:10::/48", 64, "fd00:10::/64", "fd00:10:0:1::/64", 1 << 16},
		{"fd00::/108", 112, "fd00::/112", "fd00::1:0/112", 16},
		{"fd00::/56", 72, "fd00::/72", "fd00::100:0:0:0/72", 1 << 16},
		{"10.0.0.0/24", 24, "10.0.0.0/24", "", 1},
	} {
		r, err := newRanges(netip.MustParsePrefix(c.whole), c.bits)
		require.NoError(t, err)
		require.Equal(t, c.count, r.free())
		p, err := r.next()
		require.NoError(t, err)
		require.Equal(t, c.first, p.String())
		q, err := r.next()
		if c.next == "" {
			require.Error(t, err)
			r.giveBack(p)
			p, err = r.next()
			require.NoError(t, err)
			require.Equal(t, c.first, p.String())
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.next, q.String())
		require.Equal(t, 1, r.index(q.Addr()))
	}
}

func TestRangesReserve(t *testing.T) {
	r, err := newRanges(netip.MustParsePrefix("10.0.0.0/22"), 24)
	require.NoError(t, err)
	r.take(netip.MustParsePrefix("10.0.0.0/23"))   // two of them
	r.take(netip.MustParsePrefix("10.0.2.128/25")) // a part of one
	r.take(netip.MustParsePrefix("192.0.2.0/24"))  // outside
	r.take(netip.MustParsePrefix("fd00::/64"))
	require.Equal(t, 1, r.free())
	p, err := r.next()
	require.NoError(t, err)
	require.Equal(t, "10.0.3.0/24", p.String())
	_, err = r.next()
	require.ErrorContains(t, err, "no range of /24 is left in 10.0.0.0/22")
	r.take(netip.MustParsePrefix("10.0.0.0/8"))
	require.Zero(t, r.free())
}

func TestRangesRefuse(t *testing.T) {
	for whole, bits := range map[string]int{"10.0.0.0/16": 8, "10.0.0.0/24": 33, "fd00::/16": 64} {
		_, err := newRanges(netip.MustParsePrefix(whole), bits)
		require.Error(t, err, whole)
	}
}

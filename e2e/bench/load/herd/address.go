package herd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Hollow pods have addresses of the shared address space, 100.64.0.0/10, which no real pod network of the cluster should
// use: 256 for each node, of which the first and the last are nobody's.
const (
	perNode = 256
	// MaxNodes is for how many nodes there are addresses.
	MaxNodes = 1 << 22 / perNode
)

var firstAddress = netip.AddrFrom4([4]byte{100, 64, 0, 0})

func add(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}

// addresses knows which pod has which. It is safe for concurrent use.
type addresses struct {
	mu   sync.Mutex
	used map[int]map[types.UID]int // by node: slots of its pods
}

// of gives a pod's address, a new one to a pod that has none: the lowest that is free on its node.
func (a *addresses) of(node int, pod types.UID) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slots := a.node(node)
	slot, ok := slots[pod]
	if !ok {
		taken := [perNode]bool{}
		for _, s := range slots {
			taken[s] = true
		}
		for slot = 1; slot < perNode-1 && taken[slot]; slot++ {
		}
		if slot == perNode-1 {
			return netip.Addr{}, fmt.Errorf("node %d has no address left: it has %d pods", node, len(slots))
		}
		slots[pod] = slot
	}
	return add(firstAddress, node*perNode+slot), nil
}

// keep notes that a pod has an address already. One that is not of its node's is none of ours.
func (a *addresses) keep(node int, pod types.UID, ip string) {
	have, err := netip.ParseAddr(ip)
	if err != nil || !have.Is4() {
		return
	}
	b, first := have.As4(), firstAddress.As4()
	slot := int64(binary.BigEndian.Uint32(b[:])) - int64(binary.BigEndian.Uint32(first[:])) - int64(node)*perNode
	if slot < 1 || slot >= perNode-1 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node(node)[pod] = int(slot)
}

// free takes a pod's address back.
func (a *addresses) free(node int, pod types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.node(node), pod)
}

func (a *addresses) node(n int) map[types.UID]int {
	if a.used == nil {
		a.used = map[int]map[types.UID]int{}
	}
	if a.used[n] == nil {
		a.used[n] = map[types.UID]int{}
	}
	return a.used[n]
}

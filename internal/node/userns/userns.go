// Package userns gives pods that do not want the host's users (hostUsers: false, KEP-127) ranges of user IDs of
// their own. A range is kept in a file of the pod's directory, so that a restarted kubelet knows what is taken.
package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// length of a range: every ID that a container may use.
const length = 65536

const fileName = "userns"

// Allocator of ranges. Safe for concurrent use.
type Allocator struct {
	podsDir string
	max     uint32

	mu     sync.Mutex
	taken  map[uint32]types.UID // by the number of the range; 0 is the host's own
	ranges map[types.UID]uint32
}

type record struct {
	First  uint32 `json:"first"` // on the host
	Length uint32 `json:"length"`
}

// New reads which ranges the pods below podsDir have. max is how many there may be.
func New(podsDir string, max int) (*Allocator, error) {
	a := &Allocator{podsDir: podsDir, max: uint32(min(max, 65534)), taken: map[uint32]types.UID{}, ranges: map[types.UID]uint32{}}
	files, err := filepath.Glob(filepath.Join(podsDir, "*", fileName))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var r record
		if err := json.Unmarshal(data, &r); err != nil || r.Length != length || r.First == 0 || r.First%length != 0 {
			return nil, fmt.Errorf("range of user IDs in %s is not readable: %w", f, err)
		}
		uid := types.UID(filepath.Base(filepath.Dir(f)))
		a.taken[r.First/length], a.ranges[uid] = uid, r.First/length
	}
	return a, nil
}

// Get gives the pod's range, a free one when it has none yet.
func (a *Allocator) Get(uid types.UID) (*rt.UserNamespace, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.ranges[uid]
	for i := uint32(1); !ok && i <= a.max; i++ {
		if a.taken[i] == "" {
			n, ok = i, true
		}
	}
	if !ok {
		return nil, errors.New("no range of user IDs is free")
	}
	if _, known := a.ranges[uid]; !known {
		if err := a.write(uid, n); err != nil {
			return nil, err
		}
		a.taken[n], a.ranges[uid] = uid, n
	}
	ids := []*rt.IDMapping{{HostId: n * length, ContainerId: 0, Length: length}}
	return &rt.UserNamespace{Mode: rt.NamespaceMode_POD, Uids: ids, Gids: ids}, nil
}

func (a *Allocator) write(uid types.UID, n uint32) error {
	data, err := json.Marshal(record{n * length, length})
	if err != nil {
		return err
	}
	dir := filepath.Join(a.podsDir, string(uid))
	if err := os.MkdirAll(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fileName), data, 0o600)
}

// Release the range of a pod whose directory is gone.
func (a *Allocator) Release(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.ranges[uid]; ok {
		delete(a.ranges, uid)
		delete(a.taken, n)
	}
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"golang.org/x/sys/unix"

	"hyperkube/internal/lifecycle"
)

// Etcd cannot go on once a write to its disk failed: what it then holds for written may be only half so. So the disk is
// never let that far: as long as less than spare is free, requests that store something are refused, and those that
// remove something go through. Etcd's own needs fit into spare: the next segment of its log (64 MB, made ahead), and what the
// database still lacks of the log (at most commitAfter, and what is in flight).
const (
	spare       = 128 << 20
	commitAfter = 16 << 20
)

// fresh is what the files of a new member take at once: two segments of its log, and the database.
const fresh = 2*(64<<20) + commitAfter

// ErrNoRoom refuses a write because the disk is nearly full. It holds until there is room again; nothing needs a restart.
var ErrNoRoom = errors.New("the disk is full")

// room guards the disk of a member.
type room struct {
	pb.KVServer
	dir     string
	log     *slog.Logger
	fail    *failure
	commit  func() // the database takes over what only the log has
	free    func(dir string) (uint64, error)
	pending atomic.Int64
	low     atomic.Bool
	plenty  atomic.Int64 // until when, in nanoseconds of the wall clock, there is room enough not to look again
	askers  askers
}

// lookAgain is how long room that was plenty (twice spare) is taken for granted. What all programs of a machine can write in that time is
// far less than spare.
const lookAgain = 10 * time.Millisecond

// guarded is the in-process client, behind the guard. ctx ends what the guard keeps running.
func guarded(ctx context.Context, s *etcdserver.EtcdServer, dir string, fail *failure) *clientv3.Client {
	c := v3client.New(s)
	r := &room{KVServer: v3rpc.NewQuotaKVServer(s), dir: dir, log: fail.log, fail: fail, commit: commitApart(s), free: freeBytes,
		askers: newAskers(ctx.Done())}
	c.KV = clientv3.NewKVFromKVClient(adapter.KvServerToKvClient(r), c)
	return c
}

// commitApart commits in a goroutine of its own, since a commit that fails ends the goroutine it runs in.
func commitApart(s *etcdserver.EtcdServer) func() {
	return func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Backend().ForceCommit()
		}()
		<-done
	}
}

func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// roomToBegin refuses to begin a member that could not store anything. One that has begun before is let go on whatever room
// there is, for what it holds.
func roomToBegin(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "member")); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("how much room there is in %s: %w", dir, err)
	}
	if free < spare+fresh {
		return fmt.Errorf("%w: %d MiB are free in %s, and a new datastore needs %d", ErrNoRoom, free>>20, dir, (spare+fresh)>>20)
	}
	return nil
}

// unlessFailed gives an answer, or why there will be none: what failed inside a member may have gone with its locks held, and
// whoever asks then would wait for ever.
func unlessFailed[R any](r *room, ask func() (R, error)) (got R, err error) {
	done := make(chan struct{})
	var answer R
	var refusal error
	r.askers.do(func() {
		answer, refusal = ask()
		close(done)
	})
	select {
	case <-done:
		return answer, refusal
	case <-r.fail.failed:
		return got, r.fail.Err()
	}
}

func (r *room) Range(ctx context.Context, q *pb.RangeRequest) (*pb.RangeResponse, error) {
	return unlessFailed(r, func() (*pb.RangeResponse, error) { return r.KVServer.Range(ctx, q) })
}

func (r *room) DeleteRange(ctx context.Context, q *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	return unlessFailed(r, func() (*pb.DeleteRangeResponse, error) { return r.KVServer.DeleteRange(ctx, q) })
}

func (r *room) Put(ctx context.Context, q *pb.PutRequest) (*pb.PutResponse, error) {
	return unlessFailed(r, func() (*pb.PutResponse, error) {
		if err := r.admit(len(q.Value)); err != nil {
			return nil, err
		}
		return r.KVServer.Put(ctx, q)
	})
}

func (r *room) Txn(ctx context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error) {
	return unlessFailed(r, func() (*pb.TxnResponse, error) {
		if size, stores := stored(q); stores {
			if err := r.admit(size); err != nil {
				return nil, err
			}
		}
		return r.KVServer.Txn(ctx, q)
	})
}

// stored is how much a transaction may store.
func stored(q *pb.TxnRequest) (size int, stores bool) {
	for _, ops := range [][]*pb.RequestOp{q.Success, q.Failure} {
		for _, op := range ops {
			if put := op.GetRequestPut(); put != nil {
				size, stores = size+len(put.Value), true
			}
			if inner := op.GetRequestTxn(); inner != nil {
				n, s := stored(inner)
				size, stores = size+n, stores || s
			}
		}
	}
	return size, stores
}

// admit lets a write of some bytes through, or not.
func (r *room) admit(size int) error {
	if err := r.look(); err != nil {
		return err
	}
	if n := r.pending.Add(int64(size)); n > commitAfter && r.pending.CompareAndSwap(n, 0) {
		r.commit()
	}
	return nil
}

// look refuses when there is too little room.
func (r *room) look() error {
	now := time.Now()
	if now.UnixNano() < r.plenty.Load() {
		return nil
	}
	free, err := r.free(r.dir)
	if err != nil {
		return fmt.Errorf("looking for room in %s: %w", r.dir, err)
	}
	if free < spare {
		if !r.low.Swap(true) {
			r.log.Error("the disk is full: writes are refused until there is room", "directory", r.dir, "free", free, "needed", spare)
			r.commit()
		}
		return fmt.Errorf("%w: %d MiB are free in %s, where %d must stay so; writes are refused until there is room", ErrNoRoom, free>>20, r.dir, spare>>20)
	}
	if r.low.Swap(false) {
		r.log.Info("the disk has room again: writes are accepted", "directory", r.dir, "free", free)
	}
	if free >= 2*spare {
		r.plenty.Store(now.Add(lookAgain).UnixNano())
	}
	return nil
}

// Ended returns when the member failed, with the reason; or when ctx ends, with nil. A member whose disk is full all the same,
// because others filled the last of it, needs a new process, and no new process could start yet: then Ended returns only when there
// is room, with [lifecycle.ErrAgain].
func (m *Member) Ended(ctx context.Context) error {
	select {
	case <-m.Failed():
	case <-ctx.Done():
		return nil
	}
	err := m.Err()
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	m.fail.log.Error("the disk is full: waiting for room to start again", "error", err)
	// The kernel tells nobody when room is made.
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		if free, ferr := freeBytes(m.dir); ferr == nil && free >= spare {
			return lifecycle.Again(err)
		}
	}
}

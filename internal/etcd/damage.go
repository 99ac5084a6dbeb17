package etcd

import (
	"encoding/binary"
	"errors"
	"expvar"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/raft/v3"

	"hyperkube/internal/boltcheck"
)

// ErrDamaged says that a data directory is not whole. Etcd itself would crash on it, wait for ever, or go on
// without what is missing.
var ErrDamaged = errors.New("the data of etcd is damaged")

// checkFiles finds what can be seen before the start: a database that cannot be read, a write-ahead log that is gone
// or empty. wal is where the log is when that is not its usual place.
func checkFiles(dir, wal string) error {
	if wal == "" {
		wal = filepath.Join(dir, "member", "wal")
	}
	db := filepath.Join(dir, "member", "snap", "db")
	if err := boltcheck.File(db); err != nil {
		if errors.Is(err, boltcheck.ErrDamaged) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return fmt.Errorf("etcd database: %w", err)
	}
	logs, err := filepath.Glob(filepath.Join(wal, "*.wal"))
	if err != nil {
		return err
	}
	for _, l := range logs {
		st, err := os.Stat(l)
		if err != nil {
			return fmt.Errorf("etcd write-ahead log: %w", err)
		}
		if st.Size() == 0 {
			return fmt.Errorf("%w: the write-ahead log %s is empty", ErrDamaged, l)
		}
	}
	if len(logs) > 0 {
		return nil
	}
	// The first start makes the database before the log, and may have been killed between the two.
	if n, err := takenOver(db); err != nil || n > 0 {
		return fmt.Errorf("%w: %s is there, but the write-ahead log in %s is gone", ErrDamaged, db, wal)
	}
	return nil
}

// takenOver is the last entry of the log that the database in a file has, 0 when it has none.
func takenOver(path string) (uint64, error) {
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return 0, nil
	}
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var n uint64
	err = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(schema.Meta.Name()); b != nil {
			if v := b.Get(schema.MetaConsistentIndexKeyName); len(v) == 8 {
				n = binary.BigEndian.Uint64(v)
			}
		}
		return nil
	})
	return n, err
}

// held is the last entry of the log that the database has taken over.
func held(s *etcdserver.EtcdServer) uint64 {
	index, _ := schema.ReadConsistentIndex(s.Backend().ReadTx())
	return index
}

// behind tells, once a lone member leads, whether its log ends before what its database held at the start: the log's end was lost,
// and with it perhaps writes that were acknowledged. Etcd would not apply a write until the new log is as long as the old one was.
// A leader's own match is where it found the end of its log, or later.
func behind(s *etcdserver.EtcdServer, held uint64) error {
	st, ok := status(uint64(s.MemberID()))
	if !ok || st.RaftState != raft.StateLeader {
		return nil
	}
	if last := st.Progress[st.ID].Match; held > last {
		return fmt.Errorf("%w: the write-ahead log ends at entry %d, but the database holds entry %d: the end of the log was lost", ErrDamaged, last, held)
	}
	return nil
}

// status of the raft of the member. etcd publishes that of the member that was started last in this process.
func status(id uint64) (raft.Status, bool) {
	f, ok := expvar.Get("raft.status").(expvar.Func)
	if !ok {
		return raft.Status{}, false
	}
	st, ok := f().(raft.Status)
	return st, ok && st.ID == id
}

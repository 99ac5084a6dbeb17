package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// TLS names the files of one kind of listener. They are read again for each new connection, so that
// renewed certificates need no restart.
type TLS struct {
	CertFile, KeyFile string
	// CAFile, when set, makes the listener demand client certificates that it signed.
	CAFile string
}

// Config of a member. Only Dir has no default.
type Config struct {
	// Dir is the data directory, made with mode 0700 when it is missing.
	Dir string
	// Name is the member's name, "default" when empty.
	Name string
	// ClientURLs are listened on and advertised; none: only the in-process client reaches the member.
	ClientURLs []string
	// PeerURLs are listened on and advertised to the other members; none: the member is alone.
	PeerURLs []string
	// ClientTLS and PeerTLS serve the https URLs among ClientURLs and PeerURLs.
	ClientTLS, PeerTLS TLS
	// InitialCluster is "name=url,…" of all first members, this one alone by default. It matters only until the
	// data directory has been filled.
	InitialCluster string
	// JoinExisting makes the member join a running cluster to which it was added before (MemberAdd).
	JoinExisting bool
	// MetricsURLs serve /metrics and /health without client certificates, as etcd's --listen-metrics-urls.
	MetricsURLs []string
	// QuotaBytes bounds the database, 8 GiB by default. Beyond it etcd refuses writes until it has been
	// compacted and defragmented.
	QuotaBytes int64
	// SnapshotCount is how many writes go between two snapshots of the log's state, 4000 by default
	// for a member that is alone, else 10000.
	SnapshotCount uint64
	// Log is slog.Default by default.
	Log *slog.Logger
}

// defaultQuota is upstream's recommended largest size.
const defaultQuota = 8 << 30

func (c *Config) logger() *slog.Logger { return logOf(c.Log) }

// lone members may campaign at once and tick slowly.
func (c *Config) lone() bool { return len(c.PeerURLs) == 0 && !c.JoinExisting }

// check finds what etcd itself would report badly.
func (c *Config) check() error {
	if c.Dir == "" {
		return errNoDir
	}
	if len(c.PeerURLs) == 0 && (c.InitialCluster != "" || c.JoinExisting) {
		return errors.New("etcd: a member of a cluster needs PeerURLs")
	}
	return prepareDir(c.Dir, "")
}

// prepareDir makes the data directory for its owner only, and tells why it cannot be used.
func prepareDir(dir, wal string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("etcd data directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("etcd data directory: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return fmt.Errorf("etcd data directory %s is not writable: %w", dir, err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return fmt.Errorf("etcd data directory: %w", err)
	}
	db := filepath.Join(dir, "member", "snap", "db")
	if st, err := os.Stat(db); err == nil && st.IsDir() {
		return fmt.Errorf("etcd data directory %s is damaged: %s is a directory", dir, db)
	}
	if err := locked(dir, db); err != nil {
		return err
	}
	return checkFiles(dir, wal)
}

// locked tells whether another member has the database open: etcd would wait for it for ever.
func locked(dir, db string) error {
	f, err := os.OpenFile(db, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("etcd database: %w", err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("etcd data directory %s is in use by another process: %w", dir, err)
	}
	return syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
}

// embed translates to etcd's own configuration.
func (c *Config) embed() (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Dir = c.Dir
	if c.Name != "" {
		ec.Name = c.Name
	}
	var errs []error
	urls := func(in []string) (out []url.URL) {
		for _, s := range in {
			u, err := url.Parse(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("etcd: %w", err))
				continue
			}
			out = append(out, *u)
		}
		return out
	}
	ec.ListenClientUrls = urls(c.ClientURLs)
	ec.AdvertiseClientUrls = ec.ListenClientUrls
	ec.ListenMetricsUrls = urls(c.MetricsURLs)
	ec.ListenPeerUrls = urls(c.PeerURLs)
	if len(c.PeerURLs) > 0 {
		ec.AdvertisePeerUrls = ec.ListenPeerUrls
	}
	ec.ClientTLSInfo = c.ClientTLS.info()
	ec.PeerTLSInfo = c.PeerTLS.info()
	ec.InitialCluster = c.InitialCluster
	if ec.InitialCluster == "" {
		ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	}
	if c.JoinExisting {
		ec.ClusterState = embed.ClusterStateFlagExisting
	}
	ec.QuotaBackendBytes = c.QuotaBytes
	if c.QuotaBytes == 0 {
		ec.QuotaBackendBytes = defaultQuota
	}
	tune(ec, c.lone())
	if c.SnapshotCount != 0 {
		ec.SnapshotCount = c.SnapshotCount
	}
	return ec, errors.Join(errs...)
}

// tune sets what costs an idle member and nobody asked for. A lone member's ticks serve nobody, and it keeps few log entries
// in memory, since there is no slow follower to catch up with.
//
// Committing to the database only makes the next start faster: what is acknowledged is in the write-ahead log, from which a
// start makes up for what the database lacks. So a commit waits for a minute or for 2000 writes, instead of
// etcd's 100 ms, at each of which an idle cluster's heartbeat rewrites some 30 kB of database pages.
func tune(ec *embed.Config, lone bool) {
	ec.EnableGRPCGateway = false
	ec.LogLevel = "debug" // slog decides
	ec.CompactHashCheckTime = time.Hour
	ec.BackendBatchInterval, ec.BackendBatchLimit = time.Minute, 2000
	if lone {
		ec.TickMs, ec.ElectionMs = 500, 2500 // A lease's shortest life is 1.5 election timeouts.
		ec.SnapshotCatchUpEntries = 100
		ec.SnapshotCount = 4000 // Above 5000 entries to make up for, a start refuses requests for a while.
	}
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: t.CertFile, KeyFile: t.KeyFile, TrustedCAFile: t.CAFile,
		ClientCertAuth: t.CAFile != "", MinVersion: tls.VersionTLS12,
	}
}

// explain adds to etcd's errors where they come from and, for the common ones, what to do.
func explain(ec *embed.Config, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("etcd: another process listens on one of %s: %w",
			joinURLs(ec.ListenClientUrls, ec.ListenPeerUrls, ec.ListenMetricsUrls), err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("etcd in %s: the disk is full: %w", ec.Dir, err)
	}
	return fmt.Errorf("etcd in %s: %w", ec.Dir, err)
}

func joinURLs(lists ...[]url.URL) string {
	var all []string
	for _, l := range lists {
		for _, u := range l {
			all = append(all, u.String())
		}
	}
	return strings.Join(all, ", ")
}

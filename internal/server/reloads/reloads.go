// Package reloads counts how often a configuration file was taken anew, under upstream's metric names.
package reloads

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter counts for one file. Safe for concurrent use.
type Counter struct {
	total *prometheus.CounterVec
	last  *prometheus.GaugeVec
	info  *prometheus.GaugeVec
}

// New makes the counter of a configuration: "authentication", "authorization", "encryption".
func New(of string) *Counter {
	name := func(s string) string { return "apiserver_" + of + "_config_controller_" + s }
	return &Counter{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("automatic_reloads_total"),
			Help: "Total number of automatic reloads of " + of + " configuration split by status and apiserver identity."}, []string{"apiserver_id_hash", "status"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("automatic_reload_last_timestamp_seconds"),
			Help: "Timestamp of the last automatic reload of " + of + " configuration split by status and apiserver identity."}, []string{"apiserver_id_hash", "status"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name("last_config_info"),
			Help: "Information about the last applied " + of + " configuration with hash as label, split by apiserver identity."}, []string{"apiserver_id_hash", "hash"}),
	}
}

// Collectors are the metrics.
func (c *Counter) Collectors() []prometheus.Collector {
	return []prometheus.Collector{c.total, c.last, c.info}
}

// Using says which content is in use from the start; the zero digest is that of no file.
func (c *Counter) Using(digest [sha256.Size]byte) {
	if digest == [sha256.Size]byte{} {
		return
	}
	c.info.Reset()
	c.info.WithLabelValues(Identity(), "sha256:"+hex.EncodeToString(digest[:])).Set(1)
}

// Tried counts an attempt to take new content.
func (c *Counter) Tried(digest [sha256.Size]byte, err error) {
	status := "success"
	if err != nil {
		status = "failure"
	}
	c.total.WithLabelValues(Identity(), status).Inc()
	c.last.WithLabelValues(Identity(), status).SetToCurrentTime()
	if err == nil {
		c.Using(digest)
	}
}

// Identity tells servers apart in metrics: the digest of the machine's name.
var Identity = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Digest(host)
})

// Digest is how metrics show what they must not tell.
func Digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

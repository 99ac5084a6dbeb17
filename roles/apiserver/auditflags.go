package apiserver

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/server/audit"
)

const auditing = "Audit"

// auditFlags say what is logged of requests, and where to.
func auditFlags() []cli.Flag {
	own := []cli.Flag{
		text(auditing, "audit-policy-file", "", "`FILE` with the Policy (audit.k8s.io/v1) that says what is logged; without, nothing is"),
		text(auditing, "audit-log-path", "", "`FILE` to log requests to; - is the standard output"),
		text(auditing, "audit-log-format", "json", "`FORMAT` of the file: json, or legacy for one line of text for each event"),
		number(auditing, "audit-log-maxage", 366, "`DAYS` to keep rotated files; 0 for ever"),
		number(auditing, "audit-log-maxbackup", 100, "how many rotated files to keep; 0 for all"),
		number(auditing, "audit-log-maxsize", 100, "`MEGABYTES` after which the file is rotated; 0 never rotates"),
		yes(auditing, "audit-log-compress", false, "compress rotated files with gzip"),
		text(auditing, "audit-webhook-config-file", "", "kubeconfig `FILE` that names a webhook to send events to"),
		span(auditing, "audit-webhook-initial-backoff", 10*time.Second, "`TIME` before a failed call is made again"),
	}
	own = append(own, deliveryFlags("audit-log", audit.Delivery{Mode: audit.Blocking, BufferSize: 10000, MaxSize: 1})...)
	return append(own, deliveryFlags("audit-webhook", audit.Delivery{Mode: audit.Batch, BufferSize: 10000, MaxSize: 400, MaxWait: 30 * time.Second, Throttle: true, QPS: 10, Burst: 15})...)
}

// auditVersion is the only one of events.
const auditVersion = "audit.k8s.io/v1"

func deliveryFlags(prefix string, d audit.Delivery) []cli.Flag {
	return []cli.Flag{
		text(auditing, prefix+"-version", auditVersion, "only "+auditVersion),
		text(auditing, prefix+"-mode", d.Mode, "`MODE`: batch does not keep requests waiting, blocking does, blocking-strict also refuses those that cannot be logged"),
		number(auditing, prefix+"-batch-buffer-size", d.BufferSize, "how many events may wait in mode batch before some are lost"),
		number(auditing, prefix+"-batch-max-size", d.MaxSize, "how many events make a batch"),
		span(auditing, prefix+"-batch-max-wait", d.MaxWait, "`TIME` after which a batch goes that is not full"),
		yes(auditing, prefix+"-batch-throttle-enable", d.Throttle, "bound the rate of batches"),
		&cli.Float64Flag{Category: auditing, Name: prefix + "-batch-throttle-qps", Value: d.QPS, Usage: "batches a second on average"},
		number(auditing, prefix+"-batch-throttle-burst", d.Burst, "batches at once after a pause"),
		yes(auditing, prefix+"-truncate-enabled", false, "bound the sizes of events and batches"),
		number(auditing, prefix+"-truncate-max-event-size", 102400, "`BYTES` above which an event loses its bodies"),
		number(auditing, prefix+"-truncate-max-batch-size", 10485760, "`BYTES` above which a batch is split"),
	}
}

func auditFrom(c *cli.Context) (audit.Config, error) {
	cfg := audit.Config{PolicyFile: c.String("audit-policy-file")}
	for _, prefix := range []string{"audit-log", "audit-webhook"} {
		if v := c.String(prefix + "-version"); v != auditVersion {
			return cfg, fmt.Errorf("--%s-version: %q is not supported; only %s", prefix, v, auditVersion)
		}
	}
	if p := c.String("audit-log-path"); p != "" {
		cfg.File = &audit.FileConfig{
			Path: p, Format: c.String("audit-log-format"), MaxAge: c.Int("audit-log-maxage"), MaxBackups: c.Int("audit-log-maxbackup"),
			MaxSize: c.Int("audit-log-maxsize"), Compress: c.Bool("audit-log-compress"), Delivery: deliveryFrom(c, "audit-log"),
		}
	}
	if f := c.String("audit-webhook-config-file"); f != "" {
		cfg.Webhook = &audit.WebhookConfig{ConfigFile: f, InitialBackoff: c.Duration("audit-webhook-initial-backoff"), Delivery: deliveryFrom(c, "audit-webhook")}
	}
	return cfg, nil
}

func deliveryFrom(c *cli.Context, prefix string) audit.Delivery {
	d := audit.Delivery{
		Mode: c.String(prefix + "-mode"), BufferSize: c.Int(prefix + "-batch-buffer-size"), MaxSize: c.Int(prefix + "-batch-max-size"),
		MaxWait: c.Duration(prefix + "-batch-max-wait"), Throttle: c.Bool(prefix + "-batch-throttle-enable"),
		QPS: c.Float64(prefix + "-batch-throttle-qps"), Burst: c.Int(prefix + "-batch-throttle-burst"),
	}
	if c.Bool(prefix + "-truncate-enabled") {
		d.Truncate = &audit.Truncate{MaxEvent: c.Int(prefix + "-truncate-max-event-size"), MaxBatch: c.Int(prefix + "-truncate-max-batch-size")}
	}
	return d
}

package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// FileConfig says how events are written to a file.
type FileConfig struct {
	// Path of the file; "-" is the standard output.
	Path string
	// Format is json or legacy: one line for each event in both.
	Format string
	// MaxAge of rotated files in days, MaxBackups of their number, MaxSize of the file in megabytes: zero is no bound.
	MaxAge, MaxBackups, MaxSize int
	// Compress rotated files with gzip.
	Compress bool
	Delivery
}

// file appends lines. Files are 0600, and rotated ones have the time in their names.
type file struct {
	mu     sync.Mutex
	out    io.Writer
	legacy bool
}

func newFile(c *FileConfig) (sink, error) {
	f := &file{legacy: c.Format == "legacy"}
	if !f.legacy && c.Format != "json" {
		return nil, fmt.Errorf("--audit-log-format: %q is not known; there are legacy, json", c.Format)
	}
	if c.MaxAge < 0 || c.MaxBackups < 0 || c.MaxSize < 0 {
		return nil, fmt.Errorf("--audit-log-maxage, --audit-log-maxbackup and --audit-log-maxsize must not be below 0")
	}
	if c.Path == "-" {
		f.out = os.Stdout
		return f, nil
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, fmt.Errorf("--audit-log-path: %w", err)
	}
	// Opened once here, so that a path that cannot be written is told at the start.
	try, err := os.OpenFile(c.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--audit-log-path: %w", err)
	}
	if c.MaxSize == 0 {
		f.out = try
		return f, nil
	}
	if err := try.Close(); err != nil {
		return nil, fmt.Errorf("--audit-log-path: %w", err)
	}
	f.out = &lumberjack.Logger{Filename: c.Path, MaxAge: c.MaxAge, MaxBackups: c.MaxBackups, MaxSize: c.MaxSize, Compress: c.Compress}
	return f, nil
}

func (f *file) parallel() int { return 1 }

func (f *file) write(_ context.Context, events []*auditv1.Event) error {
	var b bytes.Buffer
	for _, ev := range events {
		if f.legacy {
			b.WriteString(line(ev))
			b.WriteByte('\n')
			continue
		}
		if err := json.NewEncoder(&b).Encode(ev); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.out.Write(b.Bytes())
	return err
}

// line is an event in the legacy format.
func line(ev *auditv1.Event) string {
	or := func(s, empty string) string {
		if s == "" {
			return empty
		}
		return s
	}
	name, groups, as, asGroups, ns, response, ip := or(ev.User.Username, "<none>"), quoted(ev.User.Groups, "<none>"), "<self>", `"<lookup>"`, "<none>", "<deferred>", "<unknown>"
	if u := ev.ImpersonatedUser; u != nil {
		as, asGroups = or(u.Username, as), quoted(u.Groups, "<lookup>")
	}
	if ev.ObjectRef != nil {
		ns = or(ev.ObjectRef.Namespace, ns)
	}
	if ev.ResponseStatus != nil {
		response = fmt.Sprint(ev.ResponseStatus.Code)
	}
	if len(ev.SourceIPs) > 0 {
		ip = ev.SourceIPs[0]
	}
	return fmt.Sprintf("%s AUDIT: id=%q stage=%q ip=%q method=%q user=%q groups=%s as=%q asgroups=%s user-agent=%q namespace=%q uri=%q response=%q",
		ev.RequestReceivedTimestamp.Format(time.RFC3339Nano), ev.AuditID, ev.Stage, ip, ev.Verb, name, groups, as, asGroups, ev.UserAgent, ns, ev.RequestURI, response)
}

func quoted(list []string, empty string) string {
	if len(list) == 0 {
		list = []string{empty}
	}
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(list, ",")
}

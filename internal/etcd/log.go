package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// failure is where etcd's fatal log lines end. Etcd ends its process by them; here the goroutine that wrote
// one ends, and the failure becomes known.
type failure struct {
	log    *slog.Logger
	failed chan struct{}
	once   sync.Once
	err    error
}

func newFailure(log *slog.Logger) *failure { return &failure{log: log, failed: make(chan struct{})} }

// Err is nil until failed is closed.
func (f *failure) Err() error {
	select {
	case <-f.failed:
		return f.err
	default:
		return nil
	}
}

// OnWrite implements zapcore.CheckWriteHook for lines of level panic and fatal.
func (f *failure) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.once.Do(func() {
		msg := strings.ToLower(e.Message)
		f.err = fmt.Errorf("etcd failed: %s", msg)
		for _, field := range fields {
			if cause, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
				f.err = fmt.Errorf("etcd failed: %s: %w", msg, cause)
			}
		}
		close(f.failed)
	})
	runtime.Goexit()
}

// logger bridges etcd's zap to slog.
func (f *failure) logger() *zap.Logger {
	return zap.New(&bridge{log: f.log}, zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// bridge is a zap core over slog. Etcd's "info" tells what interests its developers: it becomes debug
// here, so that a healthy member is silent.
type bridge struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.InfoLevel:
		return slog.LevelDebug
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// Enabled is false for debug messages whatever our own level is: etcd writes keys and values into them, secrets included.
func (b *bridge) Enabled(l zapcore.Level) bool {
	if l < zapcore.InfoLevel {
		return false
	}
	return l >= zapcore.DPanicLevel || b.log.Enabled(context.Background(), level(l))
}

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, fields: append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) && !chatter(e) {
		return ce.AddCore(e, b)
	}
	return ce
}

// chatter tells of lines that every embedded member gives and that ask nobody to do anything: they are dropped.
func chatter(e zapcore.Entry) bool {
	for _, known := range [...]string{
		"Running http and grpc server on single port",
		"it isn't recommended to use default name",
		"simple token is not cryptographically signed",
		"check file permission",           // Our own check made or found the directory.
		"Failed to detect schema version", // Before the first write of a new term; it is tried again.
		"failed to update storage version",
	} {
		if strings.HasPrefix(e.Message, known) {
			return true
		}
	}
	return strings.Contains(e.Message, "still pending configuration changes to apply") // See campaign.
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(b.fields[:len(b.fields):len(b.fields)], fields...) {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	b.log.LogAttrs(context.Background(), level(e.Level), e.Message, attrs...)
	return nil
}

func (b *bridge) Sync() error { return nil }

var errNoDir = errors.New("etcd: Dir is needed")

package runtime

import (
	"context"
	"io"
	"log/slog"
	goruntime "runtime"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// bridgeLogs sends containerd's log to slog. The channel is closed when containerd meets a fatal error; the goroutine that did
// ends instead of the process.
func bridgeLogs(to *slog.Logger) <-chan struct{} {
	failed := make(chan struct{})
	var once sync.Once
	l := logrus.StandardLogger()
	l.SetOutput(io.Discard)
	l.SetFormatter(silent{})
	l.SetLevel(logrus.InfoLevel)
	if to.Enabled(context.Background(), slog.LevelDebug) {
		l.SetLevel(logrus.DebugLevel)
	}
	l.ReplaceHooks(logrus.LevelHooks{})
	l.AddHook(newLogHook(to))
	l.ExitFunc = func(int) {
		once.Do(func() { close(failed) })
		goruntime.Goexit()
	}
	return failed
}

type silent struct{}

func (silent) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// chatter are warnings of a healthy start that ask nobody to do anything.
var chatter = map[string]bool{
	"failed check for fsverity support": true,
	"failed to load cni during init, please check CRI plugin status before setting up network for pods": true, // The network comes later.
}

// logHook writes entries to slog. Containerd's "info" tells of each plugin and each step of each
// container: it becomes debug here.
type logHook struct {
	to *slog.Logger
	// calls of the CRI: containerd logs each one that fails, but the caller gets the error and says what it means.
	calls map[string]bool
}

func newLogHook(to *slog.Logger) *logHook {
	h := &logHook{to, map[string]bool{}}
	for _, s := range []grpc.ServiceDesc{cri.RuntimeService_ServiceDesc, cri.ImageService_ServiceDesc} {
		for _, m := range s.Methods {
			h.calls[m.MethodName] = true
		}
	}
	return h
}

func (h *logHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h *logHook) Fire(e *logrus.Entry) error {
	level := slog.LevelDebug
	switch e.Level {
	case logrus.WarnLevel:
		if chatter[e.Message] {
			break
		}
		level = slog.LevelWarn
	case logrus.ErrorLevel:
		if call, _, _ := strings.Cut(e.Message, " "); !h.calls[call] {
			level = slog.LevelError
		}
	case logrus.FatalLevel, logrus.PanicLevel:
		level = slog.LevelError
	}
	ctx := context.Background()
	if !h.to.Enabled(ctx, level) {
		return nil
	}
	attrs := make([]slog.Attr, 0, len(e.Data))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	h.to.LogAttrs(ctx, level, e.Message, attrs...)
	return nil
}

// Package logging sets up the one log of a process: log/slog, a line for each event with its level and
// component, on standard error. Libraries that log through klog are led into it.
//
// Levels: Error, somebody must act; Warn, something is wrong and is being worked around; Info, a
// state of the process or cluster changed; Debug, what the process does. Verbosity is a
// number as upstream's -v: 0 to 3 show Info and worse, 4 and above everything.
package logging

import (
	"flag"
	"io"
	"log/slog"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"
)

// Flags are those that every role takes: -v N.
func Flags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "v", Category: "Logging", Usage: "`LEVEL` of detail of the log, 0 to 10; from 4 on everything"},
	}
}

// Setup makes w the log of the process.
func Setup(w io.Writer, verbosity int) {
	level := slog.LevelInfo
	if verbosity >= 4 {
		level = slog.LevelDebug
	}
	h := slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	slog.SetDefault(slog.New(h))
	klog.SetLogger(logr.FromSlogHandler(quiet{h.WithAttrs([]slog.Attr{slog.String("component", "library")})}))
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	if err := fs.Set("v", strconv.Itoa(max(0, verbosity-4))); err != nil {
		slog.Error("setting the verbosity of libraries", "component", "logging", "error", err)
	}
}

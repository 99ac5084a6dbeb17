// Package logging sets up the one log of a process: log/slog, a line for each event with its level and
// component, on standard error. Libraries that log through klog are led into it.
//
// Levels: Error, somebody must act; Warn, something is wrong and is being worked around; Info, a
// state of the process or cluster changed; Debug, what the process does. Verbosity is a
// number as upstream's -v: 0 to 3 show Info and worse, 4 and above everything.
package logging

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	"github.com/go-logr/logr"
	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"

	"hyperkube/internal/flags"
)

// The formats of the log.
const (
	Text = "text"
	JSON = "json"
)

// Flags are those that every role takes: -v N and --logging-format.
func Flags() []cli.Flag {
	const group = "Logging"
	return append([]cli.Flag{
		&cli.IntFlag{Name: "v", Category: group, Usage: "`LEVEL` of detail of the log, 0 to 10; from 4 on everything"},
		&cli.StringFlag{Name: "logging-format", Category: group, Value: Text, Usage: "`FORMAT` of the log: text or json"},
	}, foreign.Flags()...)
}

// foreign are upstream's other flags of the log.
var foreign = flags.Foreign{{
	Why:   "lines are written one by one as they come",
	Texts: []string{"log-json-info-buffer-size", "log-text-info-buffer-size"}, Bools: []string{"log-json-split-stream", "log-text-split-stream"},
	Spans: []string{"log-flush-frequency"},
}, {
	Why: "verbosity is that of the whole program", Texts: []string{"vmodule"},
}}

// FromFlags makes the error output of a command its log, as its flags say.
func FromFlags(c *cli.Context) error {
	return Configure(c, "", 0)
}

// Configure is [FromFlags] for a role whose configuration file says something of the log, too: flags go before it.
func Configure(c *cli.Context, format string, verbosity int) error {
	if format == "" || c.IsSet("logging-format") {
		format = c.String("logging-format")
	}
	if c.IsSet("v") {
		verbosity = c.Int("v")
	}
	if format != Text && format != JSON {
		return fmt.Errorf("--logging-format: %q is not known; there are %s and %s", format, Text, JSON)
	}
	setup(c.App.ErrWriter, verbosity, format)
	return foreign.Check(c)
}

// Setup makes w the log of the process, in text.
func Setup(w io.Writer, verbosity int) { setup(w, verbosity, Text) }

func setup(w io.Writer, verbosity int, format string) {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbosity >= 4 {
		o.Level = slog.LevelDebug
	}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if format == JSON {
		h = slog.NewJSONHandler(w, o)
	}
	slog.SetDefault(slog.New(h))
	klog.SetLogger(logr.FromSlogHandler(quiet{h.WithAttrs([]slog.Attr{slog.String("component", "library")})}))
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	if err := fs.Set("v", strconv.Itoa(max(0, verbosity-4))); err != nil {
		slog.Error("setting the verbosity of libraries", "component", "logging", "error", err)
	}
}

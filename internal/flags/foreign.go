// Package flags has what the command lines of all roles share: flags that upstream's programs have and these do not need,
// --version, and the wording of mistakes.
//
// Command lines and manifests written for upstream's programs must work here. A flag of theirs that has nothing to do in
// this program, because what it tunes is not there or cannot be otherwise, is taken with a warning. One that
// asks for something this program cannot do is an error: it would be worse to go on without.
package flags

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// Set is some flags of upstream's that have one thing in common: why they do nothing here.
type Set struct {
	Why string
	// Refuse makes it an error to give one of them a value that is not empty, false or zero.
	Refuse bool

	Texts, Bools, Numbers, Spans []string
}

// Foreign are the flags of upstream's program that a role takes for its users' sake.
type Foreign []Set

// Flags puts them on a command line. Their values must be well-formed all the same.
func (f Foreign) Flags() []cli.Flag {
	var out []cli.Flag
	for _, s := range f {
		usage := "has no effect: " + s.Why
		if s.Refuse {
			usage = "is refused: " + s.Why
		}
		s.each(func(name string, k kind) {
			out = append(out, &cli.GenericFlag{Category: "Compatibility", Name: name, Usage: usage, Value: &value{kind: k}})
		})
	}
	return out
}

// Check warns of those that were given in vain, and refuses those that cannot be honoured.
func (f Foreign) Check(c *cli.Context) error {
	log := slog.Default().With("component", c.Command.Name)
	for _, s := range f {
		var err error
		s.each(func(name string, _ kind) {
			if err != nil || !c.IsSet(name) {
				return
			}
			v, _ := c.Generic(name).(*value)
			switch {
			case !s.Refuse:
				log.Warn("flag has no effect", "flag", "--"+name, "why", s.Why)
			case v != nil && !v.empty():
				err = fmt.Errorf("--%s is not supported: %s", name, s.Why)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) each(f func(name string, k kind)) {
	for k, names := range [][]string{text: s.Texts, truth: s.Bools, number: s.Numbers, span: s.Spans} {
		for _, n := range names {
			f(n, kind(k))
		}
	}
}

type kind int

const (
	text kind = iota
	truth
	number
	span
)

// value is checked for its form and kept.
type value struct {
	kind kind
	text string
}

func (v *value) Set(s string) error {
	var err error
	switch v.kind {
	case truth:
		_, err = strconv.ParseBool(s)
	case number:
		_, err = strconv.ParseFloat(s, 64)
	case span:
		_, err = time.ParseDuration(s)
	}
	v.text = s
	return err
}

func (v *value) String() string { return v.text }

// IsBoolFlag lets a flag stand without a value.
func (v *value) IsBoolFlag() bool { return v.kind == truth }

func (v *value) empty() bool {
	switch v.kind {
	case truth:
		b, err := strconv.ParseBool(v.text)
		return err == nil && !b
	case number:
		n, err := strconv.ParseFloat(v.text, 64)
		return err == nil && n == 0
	case span:
		d, err := time.ParseDuration(v.text)
		return err == nil && d == 0
	}
	return strings.TrimSpace(v.text) == ""
}

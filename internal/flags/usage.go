package flags

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Usage makes mistakes on the command lines of commands, and of commands below them, read as upstream's: the mistake and
// where to look, without pages of help.
func Usage(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = mistake
		Usage(c.Subcommands)
	}
}

const unknown = "flag provided but not defined: -"

func mistake(_ *cli.Context, err error, _ bool) error {
	name, isUnknown := strings.CutPrefix(err.Error(), unknown)
	if !isUnknown {
		return fmt.Errorf("%w (see --help)", err)
	}
	return fmt.Errorf("unknown flag: --%s; --help lists all", strings.TrimLeft(name, "-"))
}

// Version adds --version to a command; what it prints is line, or all of raw for --version=raw.
func Version(c *cli.Command, line string, raw func() string) *cli.Command {
	v := &version{}
	c.Flags = append(slices.Clone(c.Flags), &cli.GenericFlag{Name: "version", Value: v, Usage: "print the version and exit; =raw prints all of it"})
	action := c.Action
	c.Action = func(ctx *cli.Context) error {
		switch v.text {
		case "":
			return action(ctx)
		case "raw":
			_, err := fmt.Fprintln(ctx.App.Writer, raw())
			return err
		}
		_, err := fmt.Fprintln(ctx.App.Writer, line)
		return err
	}
	return c
}

// version is a flag that needs no value.
type version struct{ text string }

func (v *version) Set(s string) error {
	switch s {
	case "true", "raw":
		v.text = s
	case "false":
		v.text = ""
	default:
		if !strings.HasPrefix(s, "v") {
			return fmt.Errorf("%q is neither true, false nor raw", s)
		}
		return errors.New("the version that the program reports cannot be set")
	}
	return nil
}

func (v *version) String() string { return v.text }

// IsBoolFlag lets the flag stand alone.
func (*version) IsBoolFlag() bool { return true }

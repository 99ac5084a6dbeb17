package config

import (
	"io"

	"github.com/urfave/cli/v2"
)

// ParseArgs reads flags from a list of arguments as the command line of the named role would, and hands what it found to
// read. Flags and other arguments may come in any order; the others are given to read by themselves. flags is called
// for each attempt: a flag remembers what was parsed into it.
func ParseArgs(name string, flags func() []cli.Flag, args []string, read func(c *cli.Context, others []string) error) error {
	var others []string
	for {
		rest := 0
		err := parse(name, flags(), args, func(c *cli.Context) error {
			if rest = c.NArg(); rest > 0 {
				return nil
			}
			return read(c, others)
		})
		if err != nil || rest == 0 {
			return err
		}
		// Parsing stops at the first argument that is no flag: take it out and go on behind it.
		at := len(args) - rest
		others = append(others, args[at])
		args = append(append([]string{}, args[:at]...), args[at+1:]...)
	}
}

func parse(name string, flags []cli.Flag, args []string, action cli.ActionFunc) error {
	app := &cli.App{
		Name: name, Flags: flags, HideHelp: true, HideVersion: true, Writer: io.Discard, ErrWriter: io.Discard,
		Action:         action,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return err },
		ExitErrHandler: func(*cli.Context, error) {},
	}
	return app.Run(append([]string{name}, args...))
}

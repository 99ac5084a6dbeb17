// Package command is the way from a role's command line to the role at work, the same for every role: arguments that nobody
// asked for are refused, the log is set up, the flags become a configuration, and the configuration a role that runs until its
// context ends. Mistakes begin with the name of the command.
package command

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/config"
	"hyperkube/internal/logging"
)

// Runner is a role ready to work. It returns when ctx has ended, or when it cannot go on.
type Runner interface {
	Run(ctx context.Context) error
}

// Run is the action of a role's command: read makes the configuration of the flags, and build the role.
func Run[C any, R Runner](read func(*cli.Context) (C, error), build func(C) (R, error)) cli.ActionFunc {
	return Logged(func(c *cli.Context) error {
		cfg, err := read(c)
		if err != nil {
			return err
		}
		r, err := build(cfg)
		if err != nil {
			return err
		}
		return r.Run(c.Context)
	})
}

// Logged is an action without arguments that logs as its flags (package logging's) say.
func Logged(action cli.ActionFunc) cli.ActionFunc {
	return NoArguments(func(c *cli.Context) error {
		if err := logging.FromFlags(c); err != nil {
			return err
		}
		return action(c)
	})
}

// NoArguments is an action that takes flags only.
func NoArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		err := none(c.Args().Slice())
		if err == nil {
			err = action(c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.Command.FullName(), err)
		}
		return nil
	}
}

// Unless gives way to another action when the named flag is set, as --cleanup is.
func Unless(flag string, other, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Bool(flag) {
			return other(c)
		}
		return action(c)
	}
}

// FromArgs reads a role's configuration from a list of arguments as its command line would, for whoever runs the role together with
// others. flags is called for each attempt, since a flag remembers what was parsed into it.
func FromArgs[C any](name string, flags func() []cli.Flag, args []string, read func(*cli.Context) (C, error)) (cfg C, err error) {
	err = config.ParseArgs(name, flags, args, func(c *cli.Context, others []string) (err error) {
		if err := none(others); err != nil {
			return err
		}
		cfg, err = read(c)
		return err
	})
	return cfg, err
}

func none(arguments []string) error {
	if len(arguments) > 0 {
		return fmt.Errorf("unexpected argument %q", arguments[0])
	}
	return nil
}

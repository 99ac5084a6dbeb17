package command

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"hyperkube/internal/logging"
)

type role struct{ ran *[]string }

func (r role) Run(ctx context.Context) error {
	*r.ran = append(*r.ran, "ran")
	return ctx.Err()
}

func run(args ...string) ([]string, error) {
	var ran []string
	read := func(c *cli.Context) (string, error) {
		if c.String("name") == "bad" {
			return "", errors.New("a bad name")
		}
		return c.String("name"), nil
	}
	build := func(name string) (role, error) {
		if name == "broken" {
			return role{}, errors.New("cannot be built")
		}
		ran = append(ran, "built "+name)
		return role{&ran}, nil
	}
	clean := func(*cli.Context) error {
		ran = append(ran, "cleaned")
		return nil
	}
	app := &cli.App{Name: "hyperkube", Writer: io.Discard, ErrWriter: io.Discard, Commands: []*cli.Command{{
		Name:   "part",
		Flags:  append([]cli.Flag{&cli.StringFlag{Name: "name"}, &cli.BoolFlag{Name: "cleanup"}}, logging.Flags()...),
		Action: Unless("cleanup", Logged(clean), Run(read, build)),
	}}}
	err := app.Run(append([]string{"hyperkube", "part"}, args...))
	return ran, err
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args []string
		ran  []string
		err  string
	}{
		{[]string{"--name", "x"}, []string{"built x", "ran"}, ""},
		{[]string{"--cleanup"}, []string{"cleaned"}, ""},
		{[]string{"--name", "bad"}, nil, "part: a bad name"},
		{[]string{"--name", "broken"}, nil, "part: cannot be built"},
		{[]string{"quickly"}, nil, `part: unexpected argument "quickly"`},
		{[]string{"--cleanup", "quickly"}, nil, `part: unexpected argument "quickly"`},
		{[]string{"--logging-format", "pictures"}, nil, "part: "},
	} {
		ran, err := run(c.args...)
		require.Equal(t, c.ran, ran, c.args)
		if c.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.err)
		}
	}
}

func TestFromArgs(t *testing.T) {
	flags := func() []cli.Flag { return []cli.Flag{&cli.StringFlag{Name: "name"}} }
	read := func(c *cli.Context) (string, error) { return c.String("name"), nil }
	got, err := FromArgs("part", flags, []string{"--name", "x"}, read)
	require.NoError(t, err)
	require.Equal(t, "x", got)
	_, err = FromArgs("part", flags, []string{"y", "--name", "x"}, read)
	require.EqualError(t, err, `unexpected argument "y"`)
}

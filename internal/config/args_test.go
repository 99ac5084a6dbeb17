package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "token"}, &cli.BoolFlag{Name: "detach"}, &cli.StringSliceFlag{Name: "disable"}, &cli.IntFlag{Name: "v"},
	}
}

func TestParseArgs(t *testing.T) {
	for name, c := range map[string]struct {
		args           []string
		token, disable string
		detach         bool
		others         string
	}{
		"none":           {},
		"flags first":    {args: []string{"--token", "a", "--detach", "https://x"}, token: "a", detach: true, others: "https://x"},
		"flags last":     {args: []string{"https://x", "--token=a", "--disable", "dns", "--disable", "proxy"}, token: "a", disable: "dns,proxy", others: "https://x"},
		"on either side": {args: []string{"--token", "a", "https://x", "--detach", "y"}, token: "a", detach: true, others: "https://x,y"},
	} {
		called := 0
		err := ParseArgs("join", testFlags, c.args, func(ctx *cli.Context, others []string) error {
			called++
			if ctx.String("token") != c.token || ctx.Bool("detach") != c.detach || strings.Join(ctx.StringSlice("disable"), ",") != c.disable {
				t.Errorf("%s: token %q, detach %v, disable %q", name, ctx.String("token"), ctx.Bool("detach"), ctx.StringSlice("disable"))
			}
			if !slices.Equal(others, strings.FieldsFunc(c.others, func(r rune) bool { return r == ',' })) {
				t.Errorf("%s: others %q, want %q", name, others, c.others)
			}
			return nil
		})
		if err != nil || called != 1 {
			t.Errorf("%s: called %d times, %v", name, called, err)
		}
	}
}

func TestParseArgsRefuses(t *testing.T) {
	for args, want := range map[string]string{"--frob": "not defined: -frob", "--v=x": "invalid value", "--help": "help requested"} {
		err := ParseArgs("join", testFlags, []string{args}, func(*cli.Context, []string) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

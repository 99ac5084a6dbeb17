// Package images brings container images to the runtime of a node of this machine.
package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/runtime"
)

// Command is `images`.
func Command() *cli.Command {
	where := []cli.Flag{
		&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` of the node"},
		&cli.StringFlag{Name: "address", Aliases: []string{"a"}, Usage: "`SOCKET` of a containerd, ours or another, in place of the node's"},
		&cli.StringFlag{Name: "run-dir", Usage: "`DIR` of its sockets, when up was given one"},
	}
	return &cli.Command{
		Name: "images", Category: "Everyday",
		Usage: "bring images to this node's container runtime",
		Subcommands: []*cli.Command{{
			Name: "import", Usage: "load archives as `docker save` or any OCI tool writes them (- for standard input)",
			ArgsUsage: "FILE…", Flags: where, Action: load,
		}},
	}
}

func load(c *cli.Context) error {
	if c.NArg() == 0 {
		return errors.New("images import: which? Give one or more archives, or -")
	}
	l, err := cluster.NewLayout(c.String("data-dir"), c.String("run-dir"))
	if err != nil {
		return err
	}
	socket := l.ContainerdSocket()
	if a := c.String("address"); a != "" {
		socket = strings.TrimPrefix(a, "unix://")
	}
	for _, name := range c.Args().Slice() {
		if err := loadOne(c, socket, name); err != nil {
			return fmt.Errorf("images import %s: %w", name, err)
		}
	}
	return nil
}

func loadOne(c *cli.Context, socket, name string) error {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	got, err := runtime.ImportImages(c.Context, socket, in)
	for _, image := range got {
		fmt.Fprintln(c.App.Writer, image)
	}
	return err
}

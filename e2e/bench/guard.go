package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"hyperkube/e2e/bench/machine"
	"hyperkube/e2e/bench/system"
)

const guardVerb = "@guard"

// startGuard starts a process that removes the box when this one ends, in whatever way. release ends it when there is nothing
// left to remove.
func startGuard(o options, box *machine.Box) (release func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, guardVerb, o.root, o.work)
	cmd.Stdin, cmd.Stderr = r, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // What ends this program's group must not end the guard.
	err = cmd.Start()
	r.Close()
	if err != nil {
		w.Close()
		return nil, err
	}
	return func() {
		w.Close()
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: removing %s: %v\n", box.Name, err)
		}
	}, nil
}

// guard waits for the end of its input and removes the box.
func guard(args []string) error {
	if len(args) != 2 {
		return errors.New("two directories are needed")
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	box := machine.At(boxName(), args[1])
	box.Reset = system.Reset(args[0], box)
	return box.Remove()
}

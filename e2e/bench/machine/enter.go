package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// EnterVerb is the first argument by which the measuring program becomes the door of a box: it enters the namespace and the
// cgroup and turns into the program that was asked for.
const EnterVerb = "@enter"

// Enter takes what follows EnterVerb: namespace, cgroup, "bound" or "free", program and arguments. It returns only when it fails.
func Enter(args []string) error {
	if len(args) < 4 {
		return errors.New("a namespace, a cgroup and a program are needed")
	}
	namespace, group, how, program := args[0], args[1], args[2], args[3:]
	runtime.LockOSThread()
	fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", namespace, err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering %s: %w", namespace, err)
	}
	if err := joinGroup(group); err != nil {
		return err
	}
	if how == "bound" {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(program[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, program, os.Environ())
}

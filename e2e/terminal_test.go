package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pty is the test's end of a pseudo-terminal.
type pty struct{ *os.File }

// openTerminal makes a pseudo-terminal; the second file is the process's end.
func openTerminal(rows, columns uint16) (*pty, *os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	p := &pty{master}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = p.resize(rows, columns)
	}
	var slave *os.File
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return p, slave, nil
}

func (p *pty) resize(rows, columns uint16) error {
	return unix.IoctlSetWinsize(int(p.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// startTerminal runs a command that has a terminal of its own, as in a user's shell.
func startTerminal(t *testing.T, cmd *exec.Cmd, rows, columns uint16) *process {
	t.Helper()
	p := newProcess(t, cmd)
	master, slave, err := openTerminal(rows, columns)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	p.pty = master
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		master.Close()
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(p, master) // ends with an error when nobody has the other end open any more
		_ = cmd.Wait()
	}()
	t.Cleanup(p.end)
	return p
}

// resize changes the size of the process's terminal, of which it is told by a signal.
func (p *process) resize(rows, columns uint16) {
	p.t.Helper()
	if err := p.pty.resize(rows, columns); err != nil {
		p.t.Fatal(err)
	}
}

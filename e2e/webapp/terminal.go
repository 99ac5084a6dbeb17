package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal answers each line with "got LINE", and tells the size of its terminal at first and whenever it changes.
func terminal(in io.Reader, out io.Writer) error {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- strings.TrimSuffix(s.Text(), "\r")
		}
	}()
	size(out)
	for {
		select {
		case <-resized:
			size(out)
		case line, ok := <-lines:
			if !ok {
				fmt.Fprintln(out, "end of input")
				return nil
			}
			if code, ok := strings.CutPrefix(line, "exit "); ok {
				n, err := strconv.Atoi(code)
				if err != nil {
					return err
				}
				return exit(n)
			}
			fmt.Fprintln(out, "got", line)
		}
	}
}

func size(out io.Writer) {
	w, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		fmt.Fprintln(out, "no terminal")
		return
	}
	fmt.Fprintf(out, "terminal of %d rows and %d columns\n", w.Row, w.Col)
}

// Webapp is what the end-to-end tests run in their containers, and what they ask with:
//
//	serve [VERSION]  answer on :8080 with the version, or else $VERSION, and the host's name, and give back what comes by
//	                 POST and UDP; after SIGTERM serve on for a moment, then end
//	get URL          print an answer
//	await URL        print the first answer: ask until there is one
//	load URL         ask again and again, each time over a new connection, until SIGTERM; print what came back as JSON
//	reach ADDRESS…   send much by every way
//	lookup NAME DNS  ask a name server
//	wait             do nothing until told to end
//	echo TEXT        print a text
//	count N DELAY    print the numbers to N, with a delay before each
//	cat PATH…        print files
//	stat PATH…       print type and permissions, owner and group
//	env              print the environment
//	fail CODE TEXT   leave a message and end
//	eat MIB          take memory; fill PATH MIB: take disk space; both then wait
//	remove PATH      remove a file or directory
//	terminal         print the size of the terminal and each change of it, answer lines; "exit N" ends
//	tar …, test -d … what `kubectl cp` asks of a container; also by the names tar and test
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// exit ends the program with a code of its own.
type exit int

func (e exit) Error() string { return "exit " + strconv.Itoa(int(e)) }

func main() {
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); name == "tar" || name == "test" {
		args = append([]string{name}, args...)
	}
	err := run(args)
	var code exit
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 1 && args[0] == "serve":
		return serve(os.Getenv("VERSION"))
	case len(args) == 2 && args[0] == "get":
		return get(args[1])
	case len(args) == 2 && args[0] == "await":
		return await(args[1])
	case len(args) == 2 && args[0] == "load":
		return load(args[1])
	case len(args) > 1 && args[0] == "reach":
		for _, a := range args[1:] {
			if err := reach(a); err != nil {
				return fmt.Errorf("reaching %s: %w", a, err)
			}
			fmt.Println("reached", a)
		}
		return nil
	case len(args) == 3 && args[0] == "lookup":
		return lookup(args[1], args[2])
	case len(args) == 1 && args[0] == "wait":
		<-told()
		return nil
	case len(args) == 2 && args[0] == "echo":
		_, err := fmt.Println(args[1])
		return err
	case len(args) == 2 && args[0] == "remove":
		return os.RemoveAll(args[1])
	case len(args) == 3 && args[0] == "count":
		return count(args[1], args[2])
	case len(args) == 1 && args[0] == "terminal":
		return terminal(os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "test" && args[1] == "-d":
		if info, err := os.Stat(args[2]); err != nil || !info.IsDir() {
			return exit(1)
		}
		return nil
	case len(args) > 1 && args[0] == "tar":
		return tape(args[1:], os.Stdin, os.Stdout)
	}
	if len(args) > 0 {
		if done, err := look(args[0], args[1:]); done {
			return err
		}
	}
	return fmt.Errorf("what is %q?", args)
}

// told gets a value when the program is told to end. The first process of a container is not ended by a signal that it does
// not handle.
func told() <-chan os.Signal {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	return end
}

func get(url string) error {
	c := http.Client{Timeout: 5 * time.Second}
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(os.Stdout, res.Body)
	return err
}

// await is for what takes a moment to be true, as a new service does on a node.
func await(url string) error {
	end := time.Now().Add(10 * time.Second)
	for {
		err := get(url)
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func lookup(name, server string) error {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := r.LookupHost(ctx, name)
	fmt.Println(all)
	return err
}

func count(to, delay string) error {
	n, err := strconv.Atoi(to)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(delay)
	if err != nil {
		return err
	}
	end := told()
	for i := range n {
		select {
		case <-end:
			return nil
		case <-time.After(d):
		}
		fmt.Println(i + 1)
	}
	return nil
}

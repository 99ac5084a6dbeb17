// Webapp is what the end-to-end tests run in their containers and on their machines: webapp serve VERSION answers on :8080 with
// its version and host name, and gives back what it is sent by POST and UDP; webapp get URL prints an answer; webapp reach
// ADDRESS… sends much by every way; webapp lookup NAME SERVER asks a name server; webapp wait does nothing until it is told to end.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 2 && args[0] == "get":
		c := http.Client{Timeout: 5 * time.Second}
		res, err := c.Get(args[1])
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(os.Stdout, res.Body)
		return err
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
		wait()
		return nil
	case len(args) == 2 && args[0] == "echo":
		_, err := fmt.Println(args[1])
		return err
	}
	return fmt.Errorf("what is %q?", args)
}

func serve(version string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", ":8080")
	if err != nil {
		return err
	}
	go echo(packets)
	fmt.Println("serving", version)
	// The first process of a container is not ended by a signal that it does not handle.
	go func() { wait(); os.Exit(0) }()
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(w, r.Body)
			return
		}
		fmt.Fprintf(w, "%s %s\n", version, name)
	}))
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

func wait() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}

// Webapp is what the end-to-end tests run in their containers: webapp serve VERSION answers on :8080 with its version and
// host name, webapp get URL prints an answer, webapp wait does nothing until it is told to end.
package main

import (
	"fmt"
	"io"
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
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		fmt.Println("serving", args[1])
		// The first process of a container is not ended by a signal that it does not handle.
		go func() { wait(); os.Exit(0) }()
		return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s %s\n", args[1], name)
		}))
	case len(args) == 2 && args[0] == "get":
		c := http.Client{Timeout: 5 * time.Second}
		res, err := c.Get(args[1])
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(os.Stdout, res.Body)
		return err
	case len(args) == 1 && args[0] == "wait":
		wait()
		return nil
	case len(args) == 2 && args[0] == "echo":
		_, err := fmt.Println(args[1])
		return err
	}
	return fmt.Errorf("what is %q?", args)
}

func wait() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}

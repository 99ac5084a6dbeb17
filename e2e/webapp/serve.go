package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// linger is how long a server that was told to end still takes new connections: every node needs a moment to learn that
// the pod ends, and sends it some until then.
const linger = 2 * time.Second

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
	srv := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(w, r.Body)
			return
		}
		fmt.Fprintf(w, "%s %s\n", version, name)
	})}
	done := make(chan error, 1)
	end := told()
	go func() {
		<-end
		fmt.Println("ending", version)
		time.Sleep(linger)
		done <- srv.Shutdown(context.Background())
	}()
	fmt.Println("serving", version)
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-done
}

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"hyperkube/internal/client"
)

// Run serves until ctx ends, then drains: /readyz fails for ShutdownDelay, no new connection is taken, watches end, and requests in
// flight are given the request timeout. It returns nil after a clean end. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.store.Close()
	l, err := s.listen()
	if err != nil {
		return err
	}
	s.listener.Store(&l)
	srv, err := s.httpServer()
	if err != nil {
		l.Close()
		return err
	}
	inner, stop := context.WithCancel(client.WithQueueStats(context.WithoutCancel(ctx), s.queues))
	srv.BaseContext = func(net.Listener) context.Context { return inner }
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()

	served := make(chan error, 1)
	wg.Add(1)
	go func() {
		defer wg.Done()
		served <- srv.Serve(tls.NewListener(holding{l}, srv.TLSConfig))
	}()
	run := func(ctx context.Context, f func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.background(ctx, f)
		}()
	}
	for _, f := range append(s.ownParts(), s.parts.Background...) {
		run(inner, f)
	}
	if s.parts.Tracer != nil {
		run(inner, s.parts.Tracer.Run)
	}
	published, withdraw := context.WithCancel(inner)
	defer withdraw()
	run(published, s.publish)
	select {
	case err := <-served:
		return fmt.Errorf("API server: %w", err)
	case <-ctx.Done():
	}
	return s.drain(srv, withdraw, stop)
}

func (s *Server) listen() (net.Listener, error) {
	if s.cfg.TLS == nil {
		return nil, errors.New("API server: no TLS configuration")
	}
	if s.cfg.Listener != nil {
		return s.cfg.Listener, nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(s.cfg.BindAddress, strconv.Itoa(max(0, s.cfg.Port))))
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	return l, nil
}

// maxUpload is how much the requests of one connection may send ahead, in bytes.
const maxUpload = 256 << 10 * 100

func (s *Server) httpServer() (*http.Server, error) {
	t := s.cfg.TLS.Clone()
	if t.MinVersion == 0 {
		t.MinVersion = tls.VersionTLS12
	}
	t.NextProtos = []string{"h2", "http/1.1"}
	// Small records at the beginning of a connection are for web pages, which a browser begins to show before they are whole.
	t.DynamicRecordSizingDisabled = true
	srv := &http.Server{
		Handler:           spread(s.cfg.GoawayChance, s.Handler()),
		TLSConfig:         t,
		MaxHeaderBytes:    1 << 20,
		IdleTimeout:       90 * time.Second,
		ReadHeaderTimeout: 32 * time.Second,
		ConnState:         s.countConns,
		ConnContext:       withHeld,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // handshakes that clients give up are no news
	}
	h2 := &http2.Server{
		MaxConcurrentStreams:         250,
		MaxUploadBufferPerStream:     256 << 10,
		MaxUploadBufferPerConnection: maxUpload,
		IdleTimeout:                  90 * time.Second,
	}
	if err := http2.ConfigureServer(srv, h2); err != nil {
		return nil, fmt.Errorf("API server: HTTP/2: %w", err)
	}
	serveFramed(srv, h2)
	return srv, nil
}

// spread ends the connection of some HTTP/2 requests after their answer, which HTTP/2 does gracefully: requests in flight on it are
// answered, and the client connects anew.
func spread(chance float64, h http.Handler) http.Handler {
	if chance <= 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && rand.Float64() < chance {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

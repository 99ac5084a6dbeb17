package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"
)

// TLS of the serving side. Certificate is asked at each connection, so that it may be replaced at any time.
type TLS struct {
	Certificate  func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	MinVersion   uint16
	CipherSuites []uint16
}

// Config is the listener's configuration: certificates of clients are asked for and verified per request.
func (t TLS) config() *tls.Config {
	c := &tls.Config{GetCertificate: t.Certificate, MinVersion: t.MinVersion, CipherSuites: t.CipherSuites,
		ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	return c
}

// Serve answers on a listener until ctx ends. A TLS certificate makes it HTTPS.
func Serve(ctx context.Context, l net.Listener, h http.Handler, t *TLS) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second,
		// Requests end with ctx: streams and followed logs do not end by themselves.
		BaseContext: func(net.Listener) context.Context { return ctx }}
	if t != nil {
		srv.TLSConfig = t.config()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	}()
	var err error
	if t != nil {
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		<-done
		return nil
	}
	return err
}

// Fixed serves one certificate for ever.
func Fixed(c *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
}

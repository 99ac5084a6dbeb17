package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// protocolTunnel carries the bytes of a SPDY connection for port forwarding inside WebSocket messages (KEP-4006).
const (
	protocolTunnel      = "SPDY/3.1+portforward.k8s.io"
	protocolPortForward = "portforward.k8s.io"
)

func itoa(n int) string { return strconv.Itoa(n) }

// tunnel connects a client's tunnel to the runtime's SPDY.
func (s *server) tunnel(w http.ResponseWriter, r *http.Request, to string) {
	conn, rest, err := dialSPDY(to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer conn.Close()
	ws, err := upgrader(protocolTunnel).Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("websocket not upgraded", "error", err)
		return
	}
	defer ws.Close()
	ws.SetReadLimit(maxFrame)
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 32<<10)
		for {
			n, err := rest.Read(buf)
			if n > 0 {
				if ws.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			kind, data, err := ws.NextReader()
			if err != nil {
				return
			}
			if kind == websocket.BinaryMessage {
				if _, err := io.Copy(conn, data); err != nil {
					return
				}
			}
		}
	}()
	select {
	case <-done:
	case <-r.Context().Done():
	}
}

// dialSPDY upgrades a connection to the runtime's streaming server. What it sent behind its answer is in the reader.
func dialSPDY(to string) (net.Conn, io.Reader, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, nil, err
	}
	if u.Scheme != "http" {
		return nil, nil, fmt.Errorf("the runtime streams over %s, which is not supported", u.Scheme)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, to, nil)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	req.Header.Set("X-Stream-Protocol-Version", protocolPortForward)
	r := bufio.NewReader(conn)
	err = req.Write(conn)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(r, req)
	}
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, 4096))
		err = errors.Join(fmt.Errorf("the runtime answered %s: %s", resp.Status, body), readErr)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("port forward: %w", err)
	}
	return conn, r, nil
}

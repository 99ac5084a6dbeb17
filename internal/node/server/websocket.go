package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

// Version 5 of the protocol (KEP-4006): the first byte of a message is its channel; channel 255 closes the channel that its
// second byte names, which is how a client ends stdin.
const (
	protocolV5    = "v5.channel.k8s.io"
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelError  = 3
	channelResize = 4
	channelClose  = 255

	maxFrame = 32 << 20
)

func upgrader(protocol string) *websocket.Upgrader {
	return &websocket.Upgrader{
		Subprotocols: []string{protocol}, ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10,
		// Requests come from the API server or carry credentials of their own: there is no browser whose cookies could be abused.
		CheckOrigin: func(*http.Request) bool { return true },
	}
}

// translate serves version 5 to the client and speaks SPDY to the runtime.
func (s *server) translate(w http.ResponseWriter, r *http.Request, to string, o streamOptions) {
	target, err := url.Parse(to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	executor, err := remotecommand.NewSPDYExecutor(&rest.Config{Host: target.Host}, http.MethodPost, target)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ws, err := upgrader(protocolV5).Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("websocket not upgraded", "error", err)
		return
	}
	defer ws.Close()
	ws.SetReadLimit(maxFrame)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// A client may take as long as it likes to read what it gets, a pager that nobody turns among them. This ends a write that
	// waits for one, when the stream is over.
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	ch := &channels{ws: ws, sizes: make(chan remotecommand.TerminalSize, 4), done: ctx.Done()}
	stdin, feed := io.Pipe()
	go func() {
		defer cancel()
		ch.read(feed)
	}()
	opts := remotecommand.StreamOptions{Tty: o.tty}
	if o.stdin {
		opts.Stdin = stdin
	} else {
		go func() { _, _ = io.Copy(io.Discard, stdin) }()
	}
	if o.stdout {
		opts.Stdout = ch.writer(channelStdout)
	}
	if o.stderr {
		opts.Stderr = ch.writer(channelStderr)
	}
	if o.tty {
		opts.TerminalSizeQueue = ch
	}
	err = executor.StreamWithContext(ctx, opts)
	ch.finish(err)
	feed.Close() // whoever still reads gets the end of the input
}

// channels is the server's end of a version 5 connection.
type channels struct {
	ws    *websocket.Conn
	mu    sync.Mutex // one writer at a time
	sizes chan remotecommand.TerminalSize
	done  <-chan struct{}
}

// Next is the next size of the client's terminal.
func (c *channels) Next() *remotecommand.TerminalSize {
	select {
	case size := <-c.sizes:
		return &size
	case <-c.done:
		return nil
	}
}

func (c *channels) read(stdin *io.PipeWriter) {
	defer stdin.Close()
	for {
		_, msg, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if len(msg) == 0 {
			continue
		}
		switch msg[0] {
		case channelStdin:
			if _, err := stdin.Write(msg[1:]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return
			}
		case channelResize:
			var size remotecommand.TerminalSize
			if json.Unmarshal(msg[1:], &size) == nil {
				select {
				case c.sizes <- size:
				case <-c.done:
					return
				}
			}
		case channelClose:
			if len(msg) > 1 && msg[1] == channelStdin {
				stdin.Close()
			}
		}
	}
}

type channelWriter struct {
	c  *channels
	id byte
}

func (c *channels) writer(id byte) io.Writer { return channelWriter{c, id} }

func (w channelWriter) Write(b []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if err := w.c.ws.WriteMessage(websocket.BinaryMessage, append([]byte{w.id}, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// finish tells how the command ended and closes.
func (c *channels) finish(err error) {
	data, marshalErr := json.Marshal(outcome(err))
	if marshalErr == nil {
		_, _ = c.writer(channelError).Write(data) // the client may have left
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

// outcome is the status that ends a stream.
func outcome(err error) *metav1.Status {
	var exit utilexec.CodeExitError
	switch {
	case err == nil:
		return &metav1.Status{Status: metav1.StatusSuccess}
	case errors.As(err, &exit):
		return &metav1.Status{Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: "command terminated with non-zero exit code: " + exit.Error(),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: itoa(exit.Code)}}}}
	}
	return &metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Message: "Internal error occurred: " + err.Error(), Code: http.StatusInternalServerError,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: err.Error()}}}}
}

package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/request"
)

// response is the writer of one answer: it remembers the code and puts warnings into the header.
type response struct {
	http.ResponseWriter
	req      *request.Request
	trail    *audit.Trail // nil when nothing is logged
	code     int
	sent     int64 // bytes of the body
	hijacked bool
}

func (w *response) WriteHeader(code int) {
	if w.code == 0 && w.req.FlowSchemaUID != "" {
		w.Header().Set("X-Kubernetes-Pf-Flowschema-Uid", w.req.FlowSchemaUID)
		w.Header().Set("X-Kubernetes-Pf-Prioritylevel-Uid", w.req.PriorityLevelUID)
	}
	if w.code == 0 || w.code == http.StatusSwitchingProtocols {
		if code >= 200 || code == http.StatusSwitchingProtocols {
			w.code = code
			w.started()
		}
		w.warn()
	}
	w.ResponseWriter.WriteHeader(code)
}

// started tells the audit log that the answer to a long request begins.
func (w *response) started() {
	if w.trail != nil && w.req.LongRunning() {
		w.trail.Started(w.code)
	}
}

func (w *response) warn() {
	for _, text := range w.req.Warnings() {
		if h, err := utilnet.NewWarningHeader(299, "-", text); err == nil {
			w.Header().Add("Warning", h)
		}
	}
}

func (w *response) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (w *response) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Hijack takes the connection over, for protocols such as WebSocket.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := w.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the connection cannot be taken over (HTTP/2)")
	}
	w.hijacked = true
	if w.code == 0 {
		w.code = http.StatusSwitchingProtocols
		w.started()
	}
	return h.Hijack()
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

const (
	gzipFrom = 128 << 10 // bodies below are sent as they are

	// writeChunk is how much of a watch is written at once: with the nine bytes of its head, an HTTP/2 frame that fills one record of TLS.
	// One byte more would cost a second record, and a call to the kernel for it.
	writeChunk = 16<<10 - 9

	// listChunk is how much of a list is written at once. HTTP/2 cuts it into frames without asking the handler for each, which saves more than
	// the record that the last bytes of each frame take.
	listChunk = 128 << 10
)

// Free lists.
var (
	gzipWriters = sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		if err != nil {
			return gzip.NewWriter(io.Discard)
		}
		return w
	}}
	joins   = sync.Pool{New: func() any { b := make([]byte, 0, 2*writeChunk); return &b }}
	buffers = sync.Pool{New: func() any { return bufio.NewWriterSize(io.Discard, listChunk) }}
)

// send writes a whole answer.
func send(w http.ResponseWriter, r *http.Request, code int, contentType string, b *encode.Body) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if b.Size() >= gzipFrom && acceptsGzip(r) {
		connOf(r).inBulk(func() { sendGzip(w, code, b) })
		return
	}
	h.Set("Content-Length", strconv.Itoa(b.Size()))
	framedOf(r).bodyFollows()
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return
	}
	if whole, ok := b.Whole(); ok {
		_, _ = w.Write(whole) // the client is gone; nobody is left to tell
		return
	}
	connOf(r).inBulk(func() { sendParts(w, b) })
}

func sendParts(w io.Writer, b *encode.Body) {
	buf := buffers.Get().(*bufio.Writer)
	buf.Reset(w)
	if b.Write(buf) == nil {
		_ = buf.Flush()
	}
	buf.Reset(io.Discard)
	buffers.Put(buf)
}

func sendGzip(w http.ResponseWriter, code int, b *encode.Body) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Add("Vary", "Accept-Encoding")
	w.WriteHeader(code)
	z := gzipWriters.Get().(*gzip.Writer)
	z.Reset(w)
	if b.Write(z) == nil {
		_ = z.Close()
	}
	z.Reset(io.Discard)
	gzipWriters.Put(z)
}

func acceptsGzip(r *http.Request) bool {
	for _, e := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(e), ";")
		if name == "gzip" && strings.TrimSpace(params) != "q=0" {
			return true
		}
	}
	return false
}

// sendStatus writes an error. Its form is what the client accepts, JSON where that is nothing we have or a transformation.
func sendStatus(w http.ResponseWriter, r *http.Request, err error) *metav1.Status {
	s := statusOf(err)
	form, ok := negotiate.Accept(r.Header.Get("Accept"), negotiate.Offer{Protobuf: true, YAML: true})
	if !ok {
		form = negotiate.Form{Media: negotiate.JSON}
	}
	form.As, form.Pretty = "", form.Pretty || wantsPretty(r)
	data, encErr := encode.Any(form, s, encode.StatusKind)
	if encErr != nil {
		http.Error(w, fmt.Sprintf("%s (and the status could not be encoded: %v)", s.Message, encErr), http.StatusInternalServerError)
		return s
	}
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	auditStatus(w, s)
	send(w, r, int(s.Code), form.Media, encode.One(data))
	return s
}

func wantsPretty(r *http.Request) bool {
	if r.URL.RawQuery == "" {
		return false
	}
	switch r.URL.Query().Get("pretty") {
	case "1", "true":
		return true
	}
	return false
}

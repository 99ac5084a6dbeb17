package streams

import (
	"bufio"
	"net/http"
	"net/url"

	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// logMessages gives a log to a client that asked for a WebSocket. Kubelets do not know of that: the server reads the log as
// usual and sends what comes as messages, in the form (binary or base64 text) that the client's subprotocol names.
func (s *Streams) logMessages(w http.ResponseWriter, r *http.Request, pod string, to *url.URL) {
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, to.String(), nil)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	resp, err := explained{s.kubelets, pod}.RoundTrip(ask)
	if err != nil {
		responder{s}.Error(w, r, err)
		return
	}
	defer resp.Body.Close()
	// The library drops bytes that come together with the end; a buffer larger than its own gives the two apart.
	const buffer = 4096
	messages := wsstream.NewReader(bufio.NewReaderSize(resp.Body, buffer), true, wsstream.NewDefaultReaderProtocols())
	// A client that goes away ends its own connection, and there is nobody left to tell.
	_ = messages.Copy(w, r)
}

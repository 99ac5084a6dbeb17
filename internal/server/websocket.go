package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// watchOverWebSocket sends one message an event.
func (x *exchange) watchOverWebSocket(ctx context.Context, w *store.Watcher, f *encode.Frames, failed error, tell tells) {
	// Origins are not checked: a browser's request carries no credentials that a page could borrow.
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(x.w, x.r, nil)
	if err != nil {
		if w != nil {
			w.Stop()
		}
		return // Upgrade has answered
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	}()
	f.OneByOne = true
	kind := websocket.TextMessage
	if f.Form.Media == negotiate.Protobuf {
		kind = websocket.BinaryMessage
	}
	x.s.stream(ctx, w, failed, f, output{write: func(frame []byte) error { return conn.WriteMessage(kind, frame) }, flush: func() {}, tell: tell})
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

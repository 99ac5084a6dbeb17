package transcript

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Server is whom a conversation is held with.
type Server struct {
	// URL without a slash at its end.
	URL string
	// Token of a user who may do everything.
	Token  string
	Client *http.Client
}

// Play says one file to the server and gives its answers, rendered, in the order of the exchanges; nil for remarks.
func (s *Server) Play(ctx context.Context, f File) ([][]string, error) {
	out := make([][]string, len(f))
	var kept []string
	for i, x := range f {
		if x.Method == "" {
			continue
		}
		a, err := s.ask(ctx, x, strings.NewReplacer(kept...))
		if err != nil {
			out[i] = []string{"no answer: " + mask(err.Error())}
			continue
		}
		out[i] = Render(x, a)
		for _, k := range x.Keep {
			v, err := value(a.body, strings.Split(k[1], "."))
			if err != nil {
				return nil, fmt.Errorf("line %d: keeping %s: %w", x.Line, k[0], err)
			}
			kept = append(kept, "${"+k[0]+"}", v)
		}
	}
	return out, nil
}

// answer is a response that was read.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// ask sends a request, again and again where it says until when.
func (s *Server) ask(ctx context.Context, x *Exchange, kept *strings.Replacer) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		a, err := s.once(ctx, x, kept)
		if err != nil || (x.Until == 0 || a.code == x.Until) && bytes.Contains(a.body, []byte(x.Contains)) {
			return a, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the answer is still %d: %s", a.code, a.body)
		}
	}
}

func (s *Server) once(ctx context.Context, x *Exchange, kept *strings.Replacer) (*answer, error) {
	body, err := x.bytes(kept)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, s.URL+kept.Replace(x.Target), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("User-Agent", "prober/1.0")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range x.Header {
		switch {
		case h == bodyBegins:
		case h[1] == "none":
			req.Header.Del(h[0])
		default:
			req.Header.Set(h[0], kept.Replace(h[1]))
		}
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{code: resp.StatusCode, header: resp.Header}
	switch {
	case (x.Show == Code || x.Show == Quiet) && len(x.Keep) == 0 && x.Contains == "": // which may be a watch, that does not end
	case x.Events > 0 && resp.StatusCode == http.StatusOK:
		a.body, err = events(resp.Body, x.Events)
	default:
		a.body, err = io.ReadAll(resp.Body)
	}
	return a, err
}

// events reads the first n of a watch, one a line.
func events(r io.Reader, n int) ([]byte, error) {
	var out bytes.Buffer
	d := json.NewDecoder(r)
	for range n {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
		out.Write(append(raw, '\n'))
	}
	return out.Bytes(), nil
}

// value finds a string in a JSON document.
func value(data []byte, path []string) (string, error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return "", err
	}
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return "", fmt.Errorf("there is no %s in %s", strings.Join(path, "."), data)
		}
		v = m[p]
	}
	text, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("there is no %s in %s", strings.Join(path, "."), data)
	}
	return text, nil
}

// Client is one that asks as little as it can by itself: no compression, no redirects, HTTP/1.1.
func Client(t *http.Transport) *http.Client {
	t.DisableCompression, t.ForceAttemptHTTP2 = true, false
	return &http.Client{Transport: t, Timeout: 2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

package authn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

var errInvalidBearer = errors.New("invalid bearer token")

// wsBearerPrefix marks a subprotocol that carries a token: browsers cannot set an Authorization header on a WebSocket.
const wsBearerPrefix = "base64url.bearer.authorization.k8s.io."

// bearer takes a token from the Authorization header or from a WebSocket subprotocol. A token that nobody knows
// is an error: who shows one does not want to be anonymous.
func (a *Authenticator) bearer(r *http.Request) (*authenticator.Response, bool, error) {
	token, clean := fromHeader(r)
	if token == "" {
		var err error
		if token, clean, err = fromProtocols(r); err != nil {
			return nil, false, err
		}
	}
	if token == "" {
		return nil, false, nil
	}
	resp, ok, err := a.AuthenticateToken(r.Context(), token)
	if ok {
		clean()
		return resp, true, nil
	}
	if err == nil {
		err = errInvalidBearer
	}
	return nil, false, err
}

func fromHeader(r *http.Request) (string, func()) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "", nil
	}
	return token, func() { r.Header.Del("Authorization") }
}

func fromProtocols(r *http.Request) (token string, clean func(), err error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "", nil, nil
	}
	var rest []string
	const header = "Sec-Websocket-Protocol"
	for _, line := range r.Header[header] {
		for _, p := range strings.Split(line, ",") {
			p = textproto.TrimString(p)
			encoded, ok := strings.CutPrefix(p, wsBearerPrefix)
			if !ok {
				rest = append(rest, p)
				continue
			}
			if token != "" {
				return "", nil, errors.New("multiple base64.bearer.authorization tokens specified")
			}
			raw, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || !utf8.Valid(raw) {
				return "", nil, errors.New("invalid base64.bearer.authorization token encoding")
			}
			token = string(raw)
		}
	}
	if token != "" && len(rest) == 0 {
		return "", nil, errors.New("missing additional subprotocol")
	}
	return token, func() { r.Header.Set(header, strings.Join(rest, ",")) }, nil
}

// staticTokens finds users by the hash of their token, so that comparing takes no time that tells anything.
type staticTokens map[[sha256.Size]byte]*user.DefaultInfo

func (s staticTokens) AuthenticateToken(_ context.Context, token string) (*authenticator.Response, bool, error) {
	u, ok := s[sha256.Sum256([]byte(token))]
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: u}, true, nil
}

// readTokenFile reads lines of token,user,uid and optionally a list of groups.
func readTokenFile(path string) (staticTokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading static tokens: %w", err)
	}
	defer f.Close()
	s, err := parseTokens(f)
	if err != nil {
		return nil, fmt.Errorf("token file %s: %w", path, err)
	}
	return s, nil
}

func parseTokens(in io.Reader) (staticTokens, error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	s := staticTokens{}
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		if len(rec) < 3 || rec[0] == "" || rec[1] == "" {
			return nil, fmt.Errorf("line %d must have at least 3 columns (token, user name, user uid), found %d", line, len(rec))
		}
		u := &user.DefaultInfo{Name: rec[1], UID: rec[2]}
		if len(rec) > 3 && rec[3] != "" {
			for _, g := range strings.Split(rec[3], ",") {
				u.Groups = append(u.Groups, strings.TrimSpace(g))
			}
		}
		key := sha256.Sum256([]byte(rec[0]))
		if _, twice := s[key]; twice {
			return nil, fmt.Errorf("line %d repeats a token", line)
		}
		s[key] = u
	}
}

package openapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// packed is a document as it is kept and as most clients take it: compressed, for a whole set is ten megabytes.
type packed []byte

func pack(data []byte) (packed, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}

// convert makes another form of a document.
func (p packed) convert(f func([]byte) ([]byte, error)) (packed, error) {
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return nil, fmt.Errorf("a kept document: %w", err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("a kept document: %w", err)
	}
	if data, err = f(data); err != nil {
		return nil, err
	}
	return pack(data)
}

// write sends a document, compressed where the client takes that, or the part of it that it asks for.
func (p packed) write(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Accept-Ranges", "bytes")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, err := w.Write(p)
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return err
	}
	if r.Header.Get("Range") == "" {
		_, err = io.Copy(w, z)
		return err
	}
	data, err := io.ReadAll(z)
	if err == nil {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
	return err
}

package openapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

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

// write sends a document, compressed where the client takes that.
func (p packed) write(w http.ResponseWriter, compressed bool) error {
	if compressed {
		w.Header().Set("Content-Encoding", "gzip")
		_, err := w.Write(p)
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

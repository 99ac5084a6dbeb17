package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `2026-01-01T00:00:01.000000001Z stdout F one
2026-01-01T00:00:02Z stderr F err
2026-01-01T00:00:03Z stdout P two-
2026-01-01T00:00:03.5Z stdout F parts
torn
2026-01-01T00:00:04Z stdout F 
2026-01-01T00:00:05Z stdout F last
`

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	n := func(v int64) *int64 { return &v }
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"all", Options{}, "one\nerr\ntwo-parts\n\nlast\n"},
		{"timestamps", Options{Timestamps: true, Tail: n(2)}, "2026-01-01T00:00:04Z \n2026-01-01T00:00:05Z last\n"},
		{"tail 0", Options{Tail: n(0)}, ""},
		{"tail more than there is", Options{Tail: n(99)}, "one\nerr\ntwo-parts\n\nlast\n"},
		{"tail 1", Options{Tail: n(1)}, "last\n"},
		{"limit", Options{Limit: n(6)}, "one\ner"},
		{"since", Options{Since: time.Date(2026, 1, 1, 0, 0, 4, 0, time.UTC)}, "\nlast\n"},
	} {
		var b bytes.Buffer
		tc.o.Stdout, tc.o.Stderr = &b, &b
		if err := Read(t.Context(), path, tc.o); err != nil || b.String() != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.name, b.String(), err, tc.want)
		}
	}
	var b bytes.Buffer
	if err := Read(t.Context(), path, Options{Stderr: &b}); err != nil || b.String() != "err\n" {
		t.Errorf("stderr only: %q, %v", b.String(), err)
	}
	if s, err := Last(path, 80, 8); err != nil || s != "ts\n\nlast\n"[1:] {
		t.Errorf("Last: %q, %v", s, err)
	}
}

// grows adds a line to a log whenever it is written to, within reason.
type grows struct {
	bytes.Buffer
	log *os.File
}

func (g *grows) Write(b []byte) (int, error) {
	if g.Len() > 1<<20 {
		return g.Buffer.Write(b)
	}
	if _, err := g.log.WriteString("2026-01-01T00:00:09Z stdout F later\n"); err != nil {
		return 0, err
	}
	return g.Buffer.Write(b)
}

// TestReadOfALogThatGrows has as many lines as there were, however many are read at once.
func TestReadOfALogThatGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	const lines = 2000
	if err := os.WriteFile(path, bytes.Repeat([]byte("2026-01-01T00:00:01Z stdout F earlier\n"), lines), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	tail := int64(lines)
	for _, o := range []Options{{}, {Tail: &tail}} {
		g := &grows{log: log}
		if o.Stdout = g; o.Tail != nil {
			tail *= 2 // those that were there, and those that came in the first reading
		}
		if err := Read(t.Context(), path, o); err != nil {
			t.Fatal(err)
		}
		want := lines
		if o.Tail != nil {
			want = int(tail)
		}
		if n := strings.Count(g.String(), "\n"); n != want {
			t.Errorf("%d lines, want %d", n, want)
		}
	}
}

// TestFollow reads a log while it grows, in pieces that are not whole lines, and over a rotation.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	put("2026-01-01T00:00:01Z stdout F a\n2026-01-01T00:")
	lines, end, done := make(chan string), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		done <- Read(ctx, path, Options{Follow: true, Stdout: chanWriter{ctx, lines}, Running: func() bool {
			select {
			case <-end:
				return false
			default:
				return true
			}
		}})
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no %q", want)
		}
	}
	expect("a\n")
	put("00:02Z stdout F b\n")
	expect("b\n")
	r := Rotation{MaxSize: 10, MaxFiles: 3, Now: func() time.Time { return time.Unix(1e9, 0) }, Reopen: func(context.Context, string) error {
		put("2026-01-01T00:00:03Z stdout F behind the rename\n")
		f.Close()
		f, err = os.Create(path)
		return err
	}}
	if err := r.Check(ctx, "id", path); err != nil {
		t.Fatal(err)
	}
	expect("behind the rename\n")
	put("2026-01-01T00:00:04Z stdout F new file\n")
	expect("new file\n")
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type chanWriter struct {
	ctx context.Context
	c   chan string
}

func (w chanWriter) Write(b []byte) (int, error) {
	select {
	case w.c <- string(b):
	case <-w.ctx.Done():
	}
	return len(b), nil
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	now := time.Unix(1e9, 0)
	r := Rotation{MaxSize: 100, MaxFiles: 3, Now: func() time.Time { return now },
		Reopen: func(context.Context, string) error { return os.WriteFile(path, nil, 0o600) }}
	for i := range 5 {
		now = now.Add(time.Minute)
		if err := os.WriteFile(path, []byte(strings.Repeat(fmt.Sprint(i), 200)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(t.Context(), "id", path); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 3 || !strings.HasSuffix(files[1], ".gz") || strings.HasSuffix(files[2], ".gz") {
		t.Errorf("files: %v", files)
	}
	if err := os.WriteFile(path, []byte("small"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), "id", path); err != nil {
		t.Fatal(err)
	}
	if again, _ := filepath.Glob(filepath.Join(dir, "*")); len(again) != 3 {
		t.Errorf("a small log was rotated: %v", again)
	}
}

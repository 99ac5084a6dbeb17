// Package logs reads container logs in the CRI format, follows them, and rotates them.
//
// A line of the format is "time stream tag content": the time in RFC 3339 with nanoseconds, stdout or stderr, and F
// for a whole line or P for a part of one. A reader that follows waits for the kernel to tell it of writes (inotify);
// it goes on in the new file after a rotation, and ends when the container has ended and all is read.
package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options of one reading. The zero value is everything.
type Options struct {
	Follow     bool
	Timestamps bool
	Tail       *int64 // lines
	Limit      *int64 // bytes
	Since      time.Time
	// Stdout and Stderr choose the streams; a nil writer leaves that stream out.
	Stdout, Stderr io.Writer
	// Running says whether the container may still write; only asked when following.
	Running func() bool
}

// errLimit ends a reading at its byte limit.
var errLimit = errors.New("limit reached")

// Read writes the log at path to the option's writers: without Follow what it is when the reading begins, however fast it grows. A log
// that does not exist is an error wrapping fs.ErrNotExist.
func Read(ctx context.Context, path string, o Options) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	begin := int64(0)
	if o.Tail != nil {
		if begin, err = tailOffset(f, size, *o.Tail); err != nil {
			return err
		}
	}
	if _, err := f.Seek(begin, io.SeekStart); err != nil {
		return err
	}
	w := &writer{o: o, left: -1}
	if o.Limit != nil {
		w.left = *o.Limit
	}
	var follow *follower
	r := &lineReader{r: bufio.NewReaderSize(io.LimitReader(f, size-begin), 32<<10)}
	if o.Follow {
		if follow, err = newFollower(path); err != nil {
			return err
		}
		defer follow.close()
		r.r.Reset(f)
	}
	for {
		err := drain(ctx, r, w)
		if errors.Is(err, errLimit) {
			return nil
		}
		if err != nil || follow == nil {
			return err
		}
		next, err := follow.wait(ctx, f, o.Running)
		if err != nil || next == nil {
			return err
		}
		if next != f {
			f.Close()
			f = next
			r.r.Reset(f)
			r.torn = nil
		}
	}
}

// drain writes every whole line that there is.
func drain(ctx context.Context, r *lineReader, w *writer) error {
	for ctx.Err() == nil {
		line, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.line(line); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// lineReader gives whole lines; what the writer has not finished yet is kept for the next time.
type lineReader struct {
	r    *bufio.Reader
	torn []byte
}

// next is a line without its newline, valid until the next call; io.EOF when there is no whole one.
func (l *lineReader) next() ([]byte, error) {
	for {
		b, err := l.r.ReadSlice('\n')
		if err == nil && len(l.torn) == 0 {
			return b[:len(b)-1], nil
		}
		l.torn = append(l.torn, b...)
		switch {
		case err == nil:
			line := l.torn[:len(l.torn)-1]
			l.torn = nil
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// writer formats lines as the options say.
type writer struct {
	o       Options
	left    int64 // bytes; negative is without limit
	started bool  // in the middle of a line made of parts
}

// Entry is one line of a log.
type Entry struct {
	Time    time.Time
	Stamp   []byte
	Stderr  bool
	Partial bool
	Text    []byte
}

// Parse one line without its newline.
func Parse(line []byte) (Entry, error) {
	f := bytes.SplitN(line, []byte{' '}, 4)
	if len(f) < 3 {
		return Entry{}, fmt.Errorf("malformed log line %q", line[:min(len(line), 80)])
	}
	at, err := time.Parse(time.RFC3339Nano, string(f[0]))
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Time: at, Stamp: f[0], Partial: bytes.HasPrefix(f[2], []byte("P"))}
	switch string(f[1]) {
	case "stdout":
	case "stderr":
		e.Stderr = true
	default:
		return Entry{}, fmt.Errorf("unknown stream %q in a log line", f[1])
	}
	if len(f) == 4 {
		e.Text = f[3]
	}
	return e, nil
}

func (w *writer) line(raw []byte) error {
	e, err := Parse(raw)
	if err != nil {
		return nil // a torn line, of a runtime that was killed while writing: the rest of the log is still good
	}
	out := w.o.Stdout
	if e.Stderr {
		out = w.o.Stderr
	}
	if out == nil || e.Time.Before(w.o.Since) {
		return nil
	}
	var b []byte
	if w.o.Timestamps && !w.started {
		b = append(append(b, e.Stamp...), ' ')
	}
	b = append(b, e.Text...)
	w.started = e.Partial
	if !e.Partial {
		b = append(b, '\n')
	}
	return w.write(out, b)
}

func (w *writer) write(out io.Writer, b []byte) error {
	if w.left >= 0 && int64(len(b)) > w.left {
		b = b[:w.left]
	}
	if _, err := out.Write(b); err != nil {
		return err
	}
	if w.left >= 0 {
		if w.left -= int64(len(b)); w.left == 0 {
			return errLimit
		}
	}
	return nil
}

// tailOffset finds where the last n lines of a log of that size begin, reading backwards.
func tailOffset(f io.ReaderAt, size, n int64) (int64, error) {
	switch {
	case n < 0:
		return 0, nil
	case n == 0:
		return size, nil
	}
	const block = 8 << 10
	buf := make([]byte, block)
	lines := int64(0)
	for end := size; end > 0; {
		begin := max(end-block, 0)
		b := buf[:end-begin]
		if _, err := f.ReadAt(b, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != '\n' || begin+int64(i) == size-1 {
				continue
			}
			if lines++; lines == n {
				return begin + int64(i) + 1, nil
			}
		}
		end = begin
	}
	return 0, nil
}

// Last reads the end of a log as termination messages want it: at most lines lines and bytes bytes.
func Last(path string, lines, bytesMax int64) (string, error) {
	var b bytes.Buffer
	err := Read(context.Background(), path, Options{Tail: &lines, Stdout: &b, Stderr: &b})
	out := b.Bytes()
	if int64(len(out)) > bytesMax {
		out = out[int64(len(out))-bytesMax:]
	}
	return string(out), err
}

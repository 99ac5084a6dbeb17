package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// Reading says which streams a process of readers reads, and where.
type Reading struct {
	Host          string
	CA, Cert, Key []byte // PEM
	Path          string
	Streams       int
	Events        int // to be read from each stream
}

// Readers is a process that reads streams. It is one of its own so that those who make the changes do not wait, in one program's queue, behind
// hundreds of streams that have something to read: that would measure the load.
type Readers struct {
	cmd *exec.Cmd
	in  io.Closer
	out *json.Decoder
}

// readersTell is what the process says: that it is ready, then what it has read.
type readersTell struct {
	Bytes int64
	Error string
}

// StartReaders starts a program that does [ReadStreams], and returns when its streams are open.
func StartReaders(cmd *exec.Cmd, cfg *rest.Config, r Reading) (*Readers, error) {
	c := rest.CopyConfig(cfg)
	if err := rest.LoadTLSFiles(c); err != nil {
		return nil, err
	}
	r.Host, r.CA, r.Cert, r.Key = c.Host, c.CAData, c.CertData, c.KeyData
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Readers{cmd, in, json.NewDecoder(out)}
	if err := json.NewEncoder(in).Encode(r); err != nil {
		return nil, errors.Join(err, p.end())
	}
	if _, err := p.told(); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

func (p *Readers) told() (int64, error) {
	var t readersTell
	if err := p.out.Decode(&t); err != nil {
		return 0, fmt.Errorf("the process that reads: %w", err)
	}
	if t.Error != "" {
		return 0, errors.New(t.Error)
	}
	return t.Bytes, nil
}

func (p *Readers) end() error {
	p.in.Close()
	return p.cmd.Wait()
}

// Wait returns when every stream has had its events, and tells how many bytes all of them were. The process has not ended yet: see Close.
func (p *Readers) Wait() (bytes int64, err error) { return p.told() }

// Close ends the process.
func (p *Readers) Close() error { return p.end() }

// ReadStreams is what the process does: it reads what to read from in, and tells on out; it ends with in.
func ReadStreams(ctx context.Context, in io.Reader, out io.Writer) error {
	from := bufio.NewReader(in)
	line, err := from.ReadBytes('\n')
	if err != nil {
		return err
	}
	var r Reading
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	tell := json.NewEncoder(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wait, err := r.open(ctx)
	if err != nil {
		return tell.Encode(readersTell{Error: err.Error()})
	}
	if err := tell.Encode(readersTell{}); err != nil {
		return err
	}
	bytes, err := wait()
	if err != nil {
		return tell.Encode(readersTell{Error: err.Error()})
	}
	if err := tell.Encode(readersTell{Bytes: bytes}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from)
	return err
}

// open opens the streams; wait waits until each has had its events.
func (r *Reading) open(ctx context.Context) (wait func() (int64, error), err error) {
	cfg := &rest.Config{Host: r.Host, TLSClientConfig: rest.TLSClientConfig{CAData: r.CA, CertData: r.Cert, KeyData: r.Key}}
	var received atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, r.Streams)
	for range r.Streams {
		s, err := OpenStream(ctx, cfg, r.Path)
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			for seen := 0; seen < r.Events; {
				n, b, err := s.Events()
				if err != nil {
					errs <- fmt.Errorf("a stream ended after %d events: %w", seen, err)
					return
				}
				seen += n
				received.Add(int64(b))
			}
		})
	}
	return func() (int64, error) {
		wg.Wait()
		close(errs)
		var failed error
		for err := range errs {
			failed = errors.Join(failed, err)
		}
		return received.Load(), failed
	}, nil
}

package server

import (
	"context"
	"errors"
	"time"

	"hyperkube/internal/counts"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/store"
)

// output is where a watch's frames go.
type output struct {
	write func([]byte) error
	flush func()
	join  int       // how many bytes of frames go out in one write, which costs a head and, with HTTP/2, two switches of goroutines
	held  *heldConn // not nil: the connection, which is the watch's alone
	tell  tells
}

// tells is told of what was sent.
type tells struct {
	sizes *counts.Histogram // of the frames of events, in bytes
	state func()            // the watch has the state that it began with
}

func (t *tells) sent(e *store.Event, frame []byte) {
	t.sizes.Add(float64(len(frame)))
	if e.EndsState() {
		t.state()
	}
}

// stream writes events until there are no more. failed, when not nil, is the one thing to tell.
func (s *Server) stream(ctx context.Context, w *store.Watcher, failed error, f *encode.Frames, o output) {
	if failed != nil {
		o.fail(f, failed)
		return
	}
	defer w.Stop()
	turn := s.turns.Join()
	for {
		err := w.Ready(ctx)
		if err == nil {
			err = turn.Take(ctx)
		}
		if err == nil {
			var events int
			events, err = o.next(ctx, w, f)
			turn.Done()
			if err == nil && events < enough {
				err = turn.Rest(ctx, w.Together())
			}
		}
		if err != nil {
			if err != errClientGone && ctx.Err() == nil {
				o.fail(f, err)
			}
			return
		}
	}
}

// enough events in one turn make it not worth while to wait for more before the next.
const enough = 64

var errClientGone = errors.New("the client is gone")

// next writes all that has happened, and says how many events that were.
func (o *output) next(ctx context.Context, w *store.Watcher, f *encode.Frames) (int, error) {
	events, err := w.Next(ctx)
	if err != nil {
		return 0, err
	}
	if err := f.Prepare(events); err != nil {
		return 0, err
	}
	f.Table.Now = time.Now()
	if o.held != nil {
		return len(events), o.held.together(func() error { return o.batch(events, f) }, o.flush)
	}
	if err := o.batch(events, f); err != nil {
		return 0, err
	}
	o.flush()
	return len(events), nil
}

// batch writes the frames of events, short ones together.
func (o *output) batch(events []*store.Event, f *encode.Frames) error {
	if len(events) == 1 || f.OneByOne {
		for _, e := range events {
			frame, err := f.Event(e)
			if err != nil {
				return err
			}
			if o.write(frame) != nil {
				return errClientGone
			}
			o.tell.sent(e, frame)
		}
		return nil
	}
	joined := joins.Get().(*[]byte)
	buf := (*joined)[:0]
	defer func() { *joined = buf; joins.Put(joined) }()
	for _, e := range events {
		frame, err := f.Event(e)
		if err != nil {
			return err
		}
		o.tell.sent(e, frame)
		if len(buf)+len(frame) > o.join && len(buf) > 0 {
			if o.write(buf) != nil {
				return errClientGone
			}
			buf = buf[:0]
		}
		if len(frame) > o.join {
			if o.write(frame) != nil {
				return errClientGone
			}
			continue
		}
		buf = append(buf, frame...)
	}
	if len(buf) > 0 && o.write(buf) != nil {
		return errClientGone
	}
	return nil
}

// fail tells of an error inside the stream.
func (o *output) fail(f *encode.Frames, err error) {
	frame, encErr := f.Error(statusOf(err))
	if encErr != nil || o.write(frame) != nil {
		return
	}
	o.flush()
}

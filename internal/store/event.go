package store

import (
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// Event is one change of one object as watchers of a selector see it. It is never changed and
// shared by all of them.
type Event struct {
	// Type is watch.Added, Modified, Deleted or Bookmark.
	Type watch.EventType
	// Entry is the new state; of a Deleted event the last state that was selected, with the resourceVersion of the event; of a
	// Bookmark an empty object with a resourceVersion and, after initial events, the annotation k8s.io/initial-events-end.
	Entry *Entry
	// Revision of the change.
	Revision int64

	endsState bool
	enc       encodings
}

// EndsState says whether the event is the bookmark that tells a watcher that it has the state it began with.
func (e *Event) EndsState() bool { return e.endsState }

// change is an event before any selector: what a topic makes its events of. Each form is made once.
type change struct {
	rev      int64
	at       time.Time
	old, new *Entry // nil: was not there, is not there

	plain, entered, departed atomic.Pointer[Event]
}

// event is the change seen through a selector of which the old and the new state did or did not match.
func (c *change) event(oldIn, newIn bool) *Event {
	switch {
	case oldIn && newIn:
		return c.whole()
	case newIn && c.old == nil, oldIn && c.new == nil:
		return c.whole()
	case newIn:
		return once(&c.entered, func() *Event { return &Event{Type: watch.Added, Entry: c.new, Revision: c.rev} })
	case oldIn:
		return once(&c.departed, func() *Event { return &Event{Type: watch.Deleted, Entry: c.old.at(c.rev), Revision: c.rev} })
	}
	return nil
}

func (c *change) whole() *Event {
	return once(&c.plain, func() *Event {
		switch {
		case c.new == nil:
			return &Event{Type: watch.Deleted, Entry: c.old.at(c.rev), Revision: c.rev}
		case c.old == nil:
			return &Event{Type: watch.Added, Entry: c.new, Revision: c.rev}
		}
		return &Event{Type: watch.Modified, Entry: c.new, Revision: c.rev}
	})
}

// once gives what p points to, making it if need be: all callers get the same.
func once(p *atomic.Pointer[Event], make func() *Event) *Event {
	if e := p.Load(); e != nil {
		return e
	}
	p.CompareAndSwap(nil, make())
	return p.Load()
}

// JSON is the event as one frame of a JSON watch stream in version v, with its newline. Encoded once for all watchers.
func (e *Event) JSON(v *object.Version) ([]byte, error) {
	return e.Encoded(Format{v.GroupVersion, "json"}, func() ([]byte, error) {
		head := `{"type":"` + string(e.Type) + `","object":`
		data, ok := e.Entry.enc.get(Format{v.GroupVersion, "json"})
		if !ok {
			var err error
			if data, err = e.encode(v); err != nil {
				return nil, err
			}
		}
		frame := make([]byte, 0, len(head)+len(data)+2)
		frame = append(frame, head...)
		frame = append(frame, data...)
		return append(frame, "}\n"...), nil
	})
}

// encode makes the JSON of the entry, which the frame will hold: it is kept by itself only where others may need it for a conversion.
func (e *Event) encode(v *object.Version) ([]byte, error) {
	if v.FromHubAll != nil {
		return e.Entry.JSON(v)
	}
	obj, err := e.Entry.in(v, e.Entry.passing)
	if err != nil {
		return nil, err
	}
	data, err := codec.EncodeJSON(obj, v.GroupVersion.WithKind(v.Kind))
	return trimNewline(data), err
}

// Encoded gives the bytes that make made for this format, calling it only when they are not kept.
func (e *Event) Encoded(f Format, make func() ([]byte, error)) ([]byte, error) {
	if data, ok := e.enc.get(f); ok {
		return data, nil
	}
	data, err := make()
	if err != nil {
		return nil, err
	}
	return e.Entry.coll.store.enc.put(&e.enc, f, data), nil
}

// newBookmark says that everything up to rev was delivered.
func newBookmark(c *Collection, rev int64, initialEnd bool) *Event {
	var annotations map[string]string
	if initialEnd {
		annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	obj := emptyObject(c.kind, rev, annotations)
	e := &Entry{Revision: rev, coll: c}
	e.hold(obj)
	return &Event{Type: watch.Bookmark, Entry: e, Revision: rev, endsState: initialEnd}
}

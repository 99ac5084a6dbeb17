package apply

import (
	"bytes"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// generation is how many results a memory keeps before it begins to forget those that nobody asked for since.
const generation = 1024

// step is what one write does to what one manager owns: changed fields go to whoever writes, removed fields are nobody's.
type step struct {
	fields           string
	changed, removed string
	own              bool
}

// memory keeps what steps came to. Objects of one kind are mostly of few shapes, and go through the same steps; what it gives
// out is shared by all of them. Safe for concurrent use.
type memory struct {
	mu       sync.Mutex
	new, old map[step][]byte
	words    map[string][]byte
	oldWords map[string][]byte
}

// step gives the fields that the manager owns after the write; empty when none are left.
func (m *memory) step(s step) ([]byte, error) {
	m.mu.Lock()
	out, ok := m.new[s]
	if !ok {
		if out, ok = m.old[s]; ok {
			m.keep(s, out)
		}
	}
	m.mu.Unlock()
	if ok {
		return out, nil
	}
	fields, err := s.take()
	if err != nil {
		return nil, err
	}
	out = m.share(string(fields))
	m.mu.Lock()
	m.keep(s, out)
	m.mu.Unlock()
	return out, nil
}

func (m *memory) keep(s step, out []byte) {
	if m.new == nil || len(m.new) >= generation {
		m.new, m.old = map[step][]byte{}, m.new
	}
	m.new[s] = out
}

// share gives the one copy of fields that all objects of the same shape refer to.
func (m *memory) share(fields string) []byte {
	if fields == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out, ok := m.words[fields]
	if ok {
		return out
	}
	if out, ok = m.oldWords[fields]; !ok {
		out = []byte(fields)
	}
	if m.words == nil || len(m.words) >= generation {
		m.words, m.oldWords = map[string][]byte{}, m.words
	}
	m.words[fields] = out
	return out
}

func (s step) take() ([]byte, error) {
	has, err := parse(s.fields)
	if err != nil {
		return nil, err
	}
	changed, err := parse(s.changed)
	if err != nil {
		return nil, err
	}
	removed, err := parse(s.removed)
	if err != nil {
		return nil, err
	}
	has = has.Difference(removed)
	if s.own {
		has = has.Union(changed)
	} else {
		has = has.Difference(changed)
	}
	if has.Empty() {
		return nil, nil
	}
	return has.ToJSON()
}

func parse(fields string) (*fieldpath.Set, error) {
	out := fieldpath.NewSet()
	if fields == "" {
		return out, nil
	}
	return out, out.FromJSON(bytes.NewReader([]byte(fields)))
}

package store

import (
	"sync"
	"weak"
)

// Items are the encodings of a page's entries as they go out, with what stands between them. They never change.
type Items struct {
	Parts [][]byte
	Size  int // bytes of all parts
}

// Add appends a part.
func (i *Items) Add(p []byte) {
	i.Parts = append(i.Parts, p)
	i.Size += len(p)
}

// sharedItems are the items of one list in the formats in which somebody is being sent them. Nothing is kept for anybody who may come later: the collector
// takes them as soon as no answer holds them any more.
type sharedItems struct {
	mu sync.Mutex
	by map[Format]weak.Pointer[Items]
}

// get gives the items that another answer holds, or makes them while others who want the same wait.
func (s *sharedItems) get(f Format, make func() (*Items, error)) (*Items, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if items := s.by[f].Value(); items != nil {
		return items, nil
	}
	items, err := make()
	if err != nil {
		return nil, err
	}
	if s.by == nil {
		s.by = map[Format]weak.Pointer[Items]{}
	}
	s.by[f] = weak.Make(items)
	return items, nil
}

// Items gives what make makes of the page in a format. Answers with the same list that are under way at the same time share it.
func (p *Page) Items(f Format, make func() (*Items, error)) (*Items, error) {
	if p.shared == nil {
		return make()
	}
	return p.shared.get(f, make)
}

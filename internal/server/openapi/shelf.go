package openapi

import "sync"

// shelf keeps what was rendered lately, up to a size: documents of hundreds of custom resources are large, seldom asked for and
// quickly made again. It is safe for concurrent use.
type shelf struct {
	most int

	mu    sync.Mutex
	kept  map[string]*rendered
	size  int
	clock int64
}

// rendered is one thing on the shelf. It is of use while its tag is the current one.
type rendered struct {
	tag   string
	value any
	size  int
	used  int64
	ready sync.Once
	err   error
}

// get gives what was rendered under that name and tag, or renders it; those who ask meanwhile wait for it. render tells the size.
func (s *shelf) get(name, tag string, render func() (any, int, error)) (any, error) {
	s.mu.Lock()
	r := s.kept[name]
	if r == nil || r.tag != tag {
		if r != nil {
			s.size -= r.size
		}
		r = &rendered{tag: tag}
		s.kept[name] = r
	}
	s.clock++
	r.used = s.clock
	s.mu.Unlock()
	r.ready.Do(func() {
		value, size, err := render()
		r.value, r.err = value, err
		s.settle(name, r, size)
	})
	return r.value, r.err
}

// settle counts what was rendered and makes room for it.
func (s *shelf) settle(name string, r *rendered, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[name] != r {
		return // of a tag that is no more
	}
	if r.err != nil {
		delete(s.kept, name)
		return
	}
	r.size = size
	s.size += size
	for s.size > s.most {
		oldest := ""
		for n, k := range s.kept {
			if k.size > 0 && (oldest == "" || k.used < s.kept[oldest].used) {
				oldest = n
			}
		}
		if oldest == "" {
			return
		}
		s.size -= s.kept[oldest].size
		delete(s.kept, oldest)
	}
}

package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// indexes is a set of completion indexes: ascending, disjoint spans that do not touch. Values are immutable.
type indexes []span

type span struct{ first, last int }

// parseIndexes reads a list like "1,3-5,7" and leaves out what is not below limit.
func parseIndexes(text string, limit int) (indexes, error) {
	var out indexes
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, fmt.Errorf("index list %q: %w", text, err)
		}
		last := first
		if ranged {
			if last, err = strconv.Atoi(to); err != nil {
				return nil, fmt.Errorf("index list %q: %w", text, err)
			}
		}
		if last = min(last, limit-1); first <= last {
			out = append(out, span{first, last})
		}
	}
	return merge(out), nil
}

// indexesOf makes a set of single indexes, in any order.
func indexesOf(list []int) indexes {
	out := make(indexes, len(list))
	for i, x := range list {
		out[i] = span{x, x}
	}
	return merge(out)
}

// with is the union with single indexes.
func (x indexes) with(list []int) indexes {
	if len(list) == 0 {
		return x
	}
	return merge(append(slices.Clone(x), indexesOf(list)...))
}

func merge(spans indexes) indexes {
	slices.SortFunc(spans, func(a, b span) int { return a.first - b.first })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (x indexes) has(i int) bool {
	_, ok := slices.BinarySearchFunc(x, i, func(s span, i int) int {
		switch {
		case s.last < i:
			return -1
		case s.first > i:
			return 1
		}
		return 0
	})
	return ok
}

func (x indexes) count() (n int) {
	for _, s := range x {
		n += s.last - s.first + 1
	}
	return n
}

// common counts the indexes that are in both sets.
func (x indexes) common(y indexes) (n int) {
	for i, k := 0, 0; i < len(x) && k < len(y); {
		n += max(0, min(x[i].last, y[k].last)-max(x[i].first, y[k].first)+1)
		if x[i].last < y[k].last {
			i++
		} else {
			k++
		}
	}
	return n
}

// String is the list as the status has it: three and more in a row are written as a range.
func (x indexes) String() string {
	var b strings.Builder
	for _, s := range x {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(s.first))
		if s.last > s.first {
			sep := byte('-')
			if s.last == s.first+1 {
				sep = ','
			}
			b.WriteByte(sep)
			b.WriteString(strconv.Itoa(s.last))
		}
	}
	return b.String()
}

package codec

import (
	"bytes"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
)

// quickMeta finds the kind that JSON names without parsing all of it, as it is parsed once more anyway. Whatever is not
// plain — escapes, a key in other letters, a second one of the same name, faulty syntax — it leaves to the ordinary way.
//
// Faulty syntax inside of values escapes it: see explain.
type quickMeta struct{}

// Interpret makes it a jsonserializer.MetaFactory.
func (quickMeta) Interpret(data []byte) (*schema.GroupVersionKind, error) {
	apiVersion, kind, ok := scanMeta(data)
	if !ok {
		return jsonserializer.DefaultMetaFactory.Interpret(data)
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, err
	}
	return &schema.GroupVersionKind{Group: gv.Group, Version: gv.Version, Kind: kind}, nil
}

// explain gives the error that clients know of data that did not decode: the one of the ordinary way, if it has any.
func explain(data []byte, err error) error {
	if _, known := jsonserializer.DefaultMetaFactory.Interpret(data); known != nil {
		return known
	}
	return err
}

func scanMeta(data []byte) (apiVersion, kind string, ok bool) {
	s := scan{data, 0}
	if !s.take('{') {
		return "", "", false
	}
	var seen [2]bool
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return "", "", false
		}
		key, plain := s.text()
		if !plain || !s.take(':') {
			return "", "", false
		}
		which := -1
		switch {
		case key == "apiVersion":
			which = 0
		case key == "kind":
			which = 1
		case strings.EqualFold(key, "apiVersion") || strings.EqualFold(key, "kind"):
			return "", "", false
		}
		if which < 0 {
			if !s.skip() {
				return "", "", false
			}
			continue
		}
		value, plain := s.text()
		if !plain || seen[which] {
			return "", "", false
		}
		seen[which] = true
		if which == 0 {
			apiVersion = value
		} else {
			kind = value
		}
	}
	s.space()
	return apiVersion, kind, s.at == len(data)
}

// scan walks over JSON.
type scan struct {
	data []byte
	at   int
}

func (s *scan) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// take steps over one character, and space before it.
func (s *scan) take(c byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// text reads a string of plain ASCII.
func (s *scan) text() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	for i := s.at; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			out := string(s.data[s.at:i])
			s.at = i + 1
			return out, true
		case c == '\\' || c < ' ' || c >= 0x80:
			return "", false
		}
	}
	return "", false
}

// skip steps over a value of any sort without a look at what is in it.
func (s *scan) skip() bool {
	s.space()
	depth := 0
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case '"':
			if !s.skipText() {
				return false
			}
			if depth == 0 {
				return true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return true // it ended a number or a word
			}
			if depth--; depth == 0 {
				s.at++
				return true
			}
		case ',':
			if depth == 0 {
				return true
			}
		}
		s.at++
	}
	return false
}

func (s *scan) skipText() bool {
	s.at++
	for {
		end := bytes.IndexByte(s.data[s.at:], '"')
		if end < 0 {
			return false
		}
		from := s.at
		s.at += end + 1
		escapes := 0
		for i := from + end - 1; i >= from && s.data[i] == '\\'; i-- {
			escapes++
		}
		if escapes%2 == 0 {
			return true
		}
	}
}

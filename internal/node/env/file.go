package env

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// fileKey reads one variable of a file in a volume (KEP-3721).
func (b *builder) fileKey(r *corev1.FileKeySelector) (value string, there bool, err error) {
	optional := r.Optional != nil && *r.Optional
	if b.in.File == nil {
		return "", false, fmt.Errorf("no volume %q for env file %q", r.VolumeName, r.Path)
	}
	data, err := b.in.File(r.VolumeName, r.Path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && optional {
			return "", false, nil
		}
		return "", false, fmt.Errorf("couldn't read env file %s of volume %s: %w", r.Path, r.VolumeName, err)
	}
	vars, err := parseFile(string(data))
	if err != nil {
		return "", false, fmt.Errorf("env file %s of volume %s: %w", r.Path, r.VolumeName, err)
	}
	value, there = vars[r.Key]
	if !there && !optional {
		return "", false, fmt.Errorf("environment variable key %q not found in file %q", r.Key, r.Path)
	}
	return value, there, nil
}

// parseFile reads lines of NAME='value'. Empty lines and lines that begin with # are skipped; a quoted value may span lines;
// spaces before and after = are an error.
func parseFile(s string) (map[string]string, error) {
	vars := map[string]string{}
	for n := 1; s != ""; n++ {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimLeft(line, " \t"), "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d is not NAME='value'", n)
		}
		if !strings.HasPrefix(value, "'") {
			return nil, fmt.Errorf("line %d: the value of %s is not in single quotes", n, name)
		}
		rest := value[1:] + "\n" + s
		end := strings.IndexByte(rest, '\'')
		if end < 0 {
			return nil, fmt.Errorf("line %d: the value of %s has no closing quote", n, name)
		}
		vars[name] = rest[:end]
		n += strings.Count(rest[:end], "\n")
		after, next, _ := strings.Cut(rest[end+1:], "\n")
		if a := strings.TrimSpace(after); a != "" && a[0] != '#' {
			return nil, fmt.Errorf("line %d: text after the value of %s", n, name)
		}
		s = next
	}
	return vars, nil
}

// Package transcript keeps conversations with an API server in text files: requests, and what upstream's server was seen to answer. A test
// says them again to this project's server and compares; the same test records them anew from a live server of upstream's.
//
// A file is a sequence of paragraphs, each one exchange, in the order in which they are said:
//
//	# what it is about
//	> POST /api/v1/namespaces/t/pods?dryRun=All
//	> Content-Type: application/yaml
//	> @full
//	>
//	> body, as many lines as it has
//	= RV metadata.resourceVersion
//	~ why this project's answer is another
//	< 201 Pod p
//
// Lines with > are the request. Those with > @ say how it is made and shown: @full shows a whole object, @fields who manages its fields,
// @code the code and headers alone, @quiet the code alone, @events N reads N events of a watch, @until CODE asks again until that is the answer, @contains TEXT until
// that is in it, @base64 reads the body as base64. A line with = keeps a value of the answer for later requests, which name it ${RV}. Lines with ~ accept that the
// answers differ, and fail when they do not. Lines with < are the answer in the form of [Render].
package transcript

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// File is a whole conversation.
type File []*Exchange

// Exchange is one request and its answer.
type Exchange struct {
	// Head are the lines before the answer, as they are written.
	Head []string
	// Line is the number of the first one, from 1.
	Line int
	// Method is empty in a paragraph of remarks.
	Method, Target string
	Header         [][2]string
	Body           string
	Base64         bool
	Show           Show
	Events         int
	Until          int    // 0: any answer will do
	Contains       string // likewise in its body
	Keep           [][2]string
	// Accepted is why the answers may differ; empty: they may not.
	Accepted string
	// Answer is what was recorded, line by line.
	Answer []string
}

// Show says how much of an object an answer shows.
type Show string

// Of an object its kind and name are shown, or all, or its managedFields, or nothing, without headers in the end.
const (
	Brief  Show = ""
	Full   Show = "full"
	Fields Show = "fields"
	Code   Show = "code"
	Quiet  Show = "quiet"
)

// Patience bounds how long @until asks.
const Patience = 30 * time.Second

// Load reads a file.
func Load(path string) (File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f File
	var x *Exchange
	for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		if line == "" {
			x = nil
			continue
		}
		if x == nil {
			x = &Exchange{Line: i + 1}
			f = append(f, x)
		}
		if err := x.read(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return f, nil
}

// Save writes a file with its answers.
func (f File) Save(path string) error {
	var b bytes.Buffer
	for i, x := range f {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, line := range x.Head {
			b.WriteString(line + "\n")
		}
		for _, line := range x.Answer {
			b.WriteString(strings.TrimRight("< "+line, " ") + "\n")
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func (x *Exchange) read(line string) error {
	rest := strings.TrimPrefix(line[1:], " ")
	if line[0] != '<' {
		x.Head = append(x.Head, line)
	}
	switch line[0] {
	case '#':
	case '>':
		return x.request(rest)
	case '=':
		name, path, ok := strings.Cut(rest, " ")
		if !ok {
			return fmt.Errorf("%q is not = NAME PATH", line)
		}
		x.Keep = append(x.Keep, [2]string{name, path})
	case '~':
		x.Accepted = strings.TrimSpace(x.Accepted + " " + rest)
	case '<':
		x.Answer = append(x.Answer, rest)
	default:
		return fmt.Errorf("%q begins like no line of a transcript", line)
	}
	return nil
}

// bodyBegins marks, in Header, that the rest is the body.
var bodyBegins = [2]string{}

func (x *Exchange) request(line string) error {
	last := len(x.Header) - 1
	switch {
	case x.Method == "":
		var ok bool
		if x.Method, x.Target, ok = strings.Cut(line, " "); !ok {
			return fmt.Errorf("%q is not METHOD TARGET", line)
		}
	case last >= 0 && x.Header[last] == bodyBegins:
		if x.Body != "" {
			x.Body += "\n"
		}
		x.Body += line
	case line == "":
		x.Header = append(x.Header, bodyBegins)
	case line[0] == '@':
		return x.directive(strings.Fields(line[1:]))
	default:
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return fmt.Errorf("%q is not NAME: VALUE", line)
		}
		x.Header = append(x.Header, [2]string{name, value})
	}
	return nil
}

func (x *Exchange) directive(words []string) error {
	var err error
	switch {
	case len(words) == 1 && words[0] == "base64":
		x.Base64 = true
	case len(words) == 1 && (words[0] == string(Full) || words[0] == string(Fields) || words[0] == string(Code) || words[0] == string(Quiet)):
		x.Show = Show(words[0])
	case len(words) == 2 && words[0] == "events":
		x.Events, err = strconv.Atoi(words[1])
	case len(words) == 2 && words[0] == "until":
		x.Until, err = strconv.Atoi(words[1])
	case len(words) > 1 && words[0] == "contains":
		x.Contains = strings.Join(words[1:], " ")
	default:
		return fmt.Errorf("@%s is nothing known", strings.Join(words, " "))
	}
	return err
}

// bytes of the body, with values kept from earlier answers.
func (x *Exchange) bytes(kept *strings.Replacer) ([]byte, error) {
	if x.Base64 {
		return base64.StdEncoding.DecodeString(strings.ReplaceAll(x.Body, "\n", ""))
	}
	return []byte(kept.Replace(x.Body)), nil
}

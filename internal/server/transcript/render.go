package transcript

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Render writes an answer: its code with what is in it, the headers that are not as usual, and the body, where it is no object or the
// exchange wants to see it. What no two servers have in common is replaced: UIDs, revisions, times of today, ages.
func Render(x *Exchange, a *answer) []string {
	out := lines(x, a)
	random := generated(x.Body)
	for i, line := range out {
		if random != nil {
			line = random.ReplaceAllString(line, "${1}RANDOM${2}")
		}
		out[i] = strings.TrimRight(strings.ReplaceAll(line, "\n", `\n`), " ")
	}
	return out
}

// longestBase is how much of a generateName goes into a name.
const longestBase = 58

// generated finds names that were made of the generateName in a body: where they are quoted, also within a text.
func generated(body string) *regexp.Regexp {
	m := generateName.FindStringSubmatch(body)
	if m == nil {
		return nil
	}
	base := m[1][:min(len(m[1]), longestBase)]
	return regexp.MustCompile(`("` + regexp.QuoteMeta(base) + `)[a-z0-9]{5}(\\?")`)
}

var generateName = regexp.MustCompile(`"generateName":"([^"\\]+)"`)

func lines(x *Exchange, a *answer) []string {
	out := []string{strconv.Itoa(a.code)}
	if x.Show == Quiet {
		return out
	}
	out = append(out, headers(a.header)...)
	if x.Show == Code || len(a.body) == 0 {
		return out
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	switch {
	case x.Events > 0 && a.code == http.StatusOK:
		for _, e := range bytes.Split(bytes.TrimSpace(a.body), []byte("\n")) {
			out = append(out, document(e, x.Show, "")...)
		}
		return out
	case kind == "application/json":
		return append(out, document(a.body, x.Show, "")...)
	case kind == "application/yaml":
		if data, err := yaml.YAMLToJSON(a.body); err == nil {
			return append(out, document(data, x.Show, "yaml ")...)
		}
	case kind == "application/vnd.kubernetes.protobuf":
		return append(out, protobuf(a.body, x.Show)...)
	}
	return append(out, plain(a.body)...)
}

// usual headers are left out when they say what they nearly always do; where they are missing, that is shown.
var usual = map[string]string{
	"Content-Type": "application/json", "Cache-Control": "no-cache, private", "Audit-Id": "UID",
	"X-Kubernetes-Pf-Flowschema-Uid": "UID", "X-Kubernetes-Pf-Prioritylevel-Uid": "UID",
}

// unseen headers belong to the connection or to the process, or follow from the body.
var unseen = []string{"Date", "Content-Length", "Transfer-Encoding", "Connection", "Last-Modified", "Process-Start-Time-Unix"}

func headers(h http.Header) []string {
	var out []string
	for name, values := range h {
		for _, v := range values {
			if v = mask(v); name == "Etag" {
				v = "ETAG"
			}
			if usual[name] != v && !slices.Contains(unseen, name) {
				out = append(out, name+": "+v)
			}
		}
	}
	for name := range usual {
		if h.Get(name) == "" {
			out = append(out, name+": (none)")
		}
	}
	sort.Strings(out)
	return out
}

func plain(body []byte) []string {
	if !utf8.Valid(body) {
		return []string{"base64 " + base64.StdEncoding.EncodeToString(body)}
	}
	return strings.Split(strings.TrimRight(mask(string(body)), "\n"), "\n")
}

// protobuf shows the kind in the envelope, and a Status whole.
func protobuf(body []byte, show Show) []string {
	var u runtime.Unknown
	rest, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	if !ok || u.Unmarshal(rest) != nil {
		return plain(body)
	}
	if u.Kind == "Status" {
		var s metav1.Status
		if s.Unmarshal(u.Raw) == nil {
			s.Kind, s.APIVersion = u.Kind, u.APIVersion
			if data, err := json.Marshal(&s); err == nil {
				return document(data, show, "protobuf ")
			}
		}
	}
	return []string{"protobuf " + u.APIVersion + " " + u.Kind}
}

// document shows JSON.
func document(data []byte, show Show, form string) []string {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return plain(data)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return []string{form + encode(masked("", v))}
	}
	event, _ := m["type"].(string)
	if o, ok := m["object"].(map[string]any); ok && event != "" {
		return shown(o, show, form+event+" ")
	}
	return shown(m, show, form)
}

func shown(m map[string]any, show Show, form string) []string {
	kind, _ := m["kind"].(string)
	items, list := m["items"].([]any)
	meta, _ := m["metadata"].(map[string]any)
	switch {
	case kind == "Table":
		return table(m, form)
	case show == Fields && meta != nil:
		return managers(meta, form+kind)
	case show == Full || kind == "Status" || kind == "" || meta == nil:
		if meta != nil {
			delete(meta, "managedFields")
		}
		return []string{form + encode(masked("", m))}
	case list:
		out := fmt.Sprintf("%s%v %s", form, m["apiVersion"], kind)
		for _, i := range items {
			name, _ := value([]byte(encode(i)), []string{"metadata", "name"})
			out += " " + name
		}
		return []string{out}
	}
	name, _ := masked("metadata", meta).(map[string]any)["name"].(string)
	return []string{strings.TrimRight(fmt.Sprintf("%s%v %s %s", form, m["apiVersion"], kind, name), " ")}
}

// table shows a column or a row on each line.
func table(m map[string]any, form string) []string {
	columns, _ := m["columnDefinitions"].([]any)
	rows, _ := m["rows"].([]any)
	aged := map[int]bool{}
	rest := map[string]any{}
	for k, v := range m {
		if k != "columnDefinitions" && k != "rows" {
			rest[k] = v
		}
	}
	out := []string{form + encode(masked("", rest))}
	for i, c := range columns {
		d, _ := c.(map[string]any)
		name, _ := d["name"].(string)
		aged[i] = slices.Contains([]string{"Age", "Last Seen", "First Seen", "Last Schedule", "TimeAdded"}, name)
		out = append(out, fmt.Sprintf("column %v|%v|%v|%v|%v", d["name"], d["type"], d["format"], d["priority"], d["description"]))
	}
	for _, r := range rows {
		row, _ := r.(map[string]any)
		cells, _ := row["cells"].([]any)
		for i, c := range cells {
			if text, ok := c.(string); ok && (aged[i] || i >= len(columns)) {
				cells[i] = ages.ReplaceAllString(text, "AGE")
			}
		}
		line := "row " + encode(masked("", cells))
		delete(row, "cells")
		if o, ok := row["object"].(map[string]any); ok {
			if meta, ok := o["metadata"].(map[string]any); ok {
				delete(meta, "managedFields")
			}
		}
		out = append(out, line+" "+encode(masked("", row)))
	}
	return out
}

var ages = regexp.MustCompile(`^(\d+[smhdy])+$`)

// managers shows one manager on each line.
func managers(meta map[string]any, kind string) []string {
	var out []string
	all, _ := meta["managedFields"].([]any)
	for _, e := range all {
		m, _ := e.(map[string]any)
		sub, _ := m["subresource"].(string)
		out = append(out, fmt.Sprintf("%v %v /%s %v %s %s", m["manager"], m["operation"], sub, m["apiVersion"], m["fieldsType"], mask(encode(m["fieldsV1"]))))
	}
	sort.Strings(out) // they stand in the order of their times
	return append([]string{kind}, out...)
}

func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var (
	uid     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	current = regexp.MustCompile(`(current(?: revision)?: ?|in record \()\d+`)
	address = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	// Objects that are quoted in a text, as JSON or as a Go map.
	revision = regexp.MustCompile(`(resourceVersion(?:\\*":\\*"|:))[1-9]\d*`)
	mount    = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)
	moment   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
)

// mask replaces in a text what differs between servers.
func mask(s string) string {
	s = mount.ReplaceAllString(s, "kube-api-access-RANDOM")
	s = current.ReplaceAllString(uid.ReplaceAllString(s, "UID"), "${1}N")
	s = moment.ReplaceAllStringFunc(revision.ReplaceAllString(s, "${1}RV"), func(t string) string {
		if today(t) {
			return "NOW"
		}
		return t
	})
	return address.ReplaceAllString(s, "SERVER")
}

// masked replaces in a document what differs between servers; key is where v was found.
func masked(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if base, ok := v["generateName"].(string); ok {
			if name, ok := v["name"].(string); ok && strings.HasPrefix(name, base) && len(name) == len(base)+5 {
				v["name"] = base + "RANDOM"
			}
		}
		for k := range v {
			v[k] = masked(k, v[k])
		}
	case []any:
		for i := range v {
			v[i] = masked("", v[i])
		}
	case string:
		switch {
		case key == "resourceVersion" && v != "" && v != "0":
			return "RV"
		case key == "continue" && v != "":
			return "CONTINUE"
		case key == "serverAddress":
			return "SERVER"
		case key == "gitCommit":
			return "COMMIT"
		case today(v):
			return "NOW"
		}
		return mask(v)
	}
	return v
}

func today(s string) bool {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return false
	}
	d := time.Since(t)
	return d < 24*time.Hour && d > -24*time.Hour
}

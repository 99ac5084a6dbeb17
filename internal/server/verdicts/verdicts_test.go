package verdicts

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"

	"hyperkube/internal/object"
	"hyperkube/internal/server/servertest/whole"
)

var (
	record = flag.String("record", "", "kubeconfig of a server of upstream's to record the answers of")
	update = flag.Bool("update", false, "write anew how many answers differ")
	all    = flag.Bool("all", false, "show all answers that differ")
	only   = flag.String("only", "", "file of testdata/requests, without .yaml, to record alone")
)

// TestVerdicts asks our server what upstream's was asked. Where answers differ still, testdata/differing.txt says how many of each
// subject's: no more may come to them, and -update takes out those that are mended.
func TestVerdicts(t *testing.T) {
	files, err := filepath.Glob("testdata/answers/*.zst")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	api := whole.Start(t, whole.Config{})
	a, err := newAsker(api.As(t, api.Files.Admin))
	require.NoError(t, err)
	known := readCounts(t)
	found := map[string]int{}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".jsonl.zst"), func(t *testing.T) { replay(t, a, f, known, found) })
	}
	if *update {
		writeCounts(t, found)
		return
	}
	for subject, n := range known {
		if found[subject] < n {
			// Some answers tell what a controller has seen by then, so one fewer is no mistake.
			t.Logf("%s: %d answers differ, %s has %d: run the test with -update", subject, found[subject], differing, n)
		}
	}
}

func replay(t *testing.T, a *asker, file string, known, found map[string]int) {
	failed := map[string]string{} // what there is to say of each subject
	for _, want := range unpack(t, file) {
		if want.Code == panicked {
			continue // there is nothing to live up to
		}
		got := want
		require.NoError(t, a.ask(t.Context(), &got))
		require.NoError(t, a.settle(t.Context(), &got))
		if d := difference(&want, &got); d != "" {
			subject := strings.Join(strings.Fields(want.Name)[:min(3, len(strings.Fields(want.Name)))], " ")
			found[subject]++
			failed[subject] += fmt.Sprintf("%s\n  %s %s %s\n%s", want.Name, want.Method, want.Path, want.Body, d)
		}
	}
	for subject, text := range failed {
		if found[subject] > known[subject] || *all {
			t.Errorf("%s: %d answers are not upstream's, %d are known not to be:\n%s", subject, found[subject], known[subject], text)
		}
	}
}

const differing = "testdata/differing.txt"

func readCounts(t *testing.T) map[string]int {
	data, err := os.ReadFile(differing)
	require.NoError(t, err)
	counts := map[string]int{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		subject, n, _ := strings.Cut(strings.TrimSpace(line), "\t")
		counts[subject], err = strconv.Atoi(n)
		require.NoError(t, err, line)
	}
	return counts
}

func writeCounts(t *testing.T, counts map[string]int) {
	text := "# How many answers to a subject's requests are not upstream's yet. The list only shrinks.\n"
	for _, subject := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf("%s\t%d\n", subject, counts[subject])
	}
	require.NoError(t, os.WriteFile(differing, []byte(text), 0o644))
}

// difference tells where an answer is not upstream's.
func difference(want, got *exchange) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if want.Code != got.Code {
		line("  code %d, upstream has %d", got.Code, want.Code)
	}
	if !slices.Equal(want.Warnings, got.Warnings) {
		line("  warnings %q\n  upstream %q", got.Warnings, want.Warnings)
	}
	if !sameJSON(want.Answer, got.Answer) {
		line("  answer   %s\n  upstream %s", got.Answer, want.Answer)
	}
	return b.String()
}

// sameJSON overlooks how text is escaped, and in which order a refusal tells of the entries of one map.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(inMapOrder(x), inMapOrder(y))
}

var mapKey = regexp.MustCompile(`\[[^\]]*[^]0-9][^\]]*\]$`)

// inMapOrder sorts causes that stand together and are about entries of one map, which a server goes through in no order, and takes the
// causes out of the message, if it has them in the order that they came in.
func inMapOrder(answer any) any {
	status, _ := answer.(map[string]any)
	details, _ := status["details"].(map[string]any)
	causes, _ := details["causes"].([]any)
	field := func(i int) string {
		cause, _ := causes[i].(map[string]any)
		name, _ := cause["field"].(string)
		return name
	}
	var told []string
	for i := range causes {
		cause, _ := causes[i].(map[string]any)
		told = append(told, fmt.Sprintf("%v: %v", cause["field"], cause["message"]))
	}
	if text, ok := status["message"].(string); ok && len(causes) > 1 {
		status["message"] = strings.Replace(text, strings.Join(told, ", "), "@causes", 1)
	}
	for start, end := 0, 0; start < len(causes); start = end {
		of := mapKey.ReplaceAllString(field(start), "")
		for end = start + 1; end < len(causes) && of != field(start) && of != field(end) && mapKey.ReplaceAllString(field(end), "") == of; {
			end++
		}
		slices.SortStableFunc(causes[start:end], func(a, b any) int {
			return strings.Compare(fmt.Sprint(a.(map[string]any)["field"]), fmt.Sprint(b.(map[string]any)["field"]))
		})
	}
	return answer
}

// TestRecord asks a server of upstream's, when one is given, and packs its answers. Without, it makes sure that the requests of
// testdata/requests are those that were recorded.
func TestRecord(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.yaml")
	require.NoError(t, err)
	var theirs *asker
	if *record != "" {
		cfg, err := clientcmd.BuildConfigFromFlags("", *record)
		require.NoError(t, err)
		theirs, err = newAsker(cfg)
		require.NoError(t, err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		if *only != "" && name != *only {
			continue
		}
		subjects, err := readSubjects(f)
		require.NoError(t, err)
		r := requests{table: object.Builtin()}
		for i, s := range subjects {
			require.NoError(t, r.subject(i, s), "%s, document %d", name, i)
		}
		packed := filepath.Join("testdata", "answers", name+".jsonl.zst")
		if theirs == nil {
			t.Run(name, func(t *testing.T) { recorded(t, r.all, unpack(t, packed)) })
			continue
		}
		for i := range r.all {
			require.NoError(t, theirs.ask(t.Context(), &r.all[i]))
			require.NoError(t, theirs.settle(t.Context(), &r.all[i]))
		}
		pack(t, packed, r.all)
		t.Logf("%s: %d requests", name, len(r.all))
	}
}

func recorded(t *testing.T, made, had []exchange) {
	require.Len(t, had, len(made))
	for i := range made {
		m, h := made[i], had[i]
		if m.Name != h.Name || m.Method != h.Method || m.Path != h.Path || !sameJSON(m.Body, h.Body) {
			t.Fatalf("request %d is now\n%s %s %s\nrecorded was\n%s %s %s", i, m.Name, m.Path, m.Body, h.Name, h.Path, h.Body)
		}
	}
}

func pack(t *testing.T, file string, all []exchange) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, x := range all {
		require.NoError(t, e.Encode(x))
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(1<<23))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, w.EncodeAll(b.Bytes(), nil), 0o644))
}

func unpack(t *testing.T, file string) []exchange {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
	require.NoError(t, err)
	defer r.Close()
	var all []exchange
	for d := json.NewDecoder(r); ; {
		var x exchange
		if err := d.Decode(&x); err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, x)
	}
}

package verdicts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// asker sends requests to one server and takes out of its answers what differs from server to server.
type asker struct {
	http     *http.Client
	host     string
	revision string // of the last write in earnest
}

func newAsker(cfg *rest.Config) (*asker, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	return &asker{http: h, host: cfg.Host}, nil
}

var mediaTypes = map[string]string{
	"": "application/json", "json": "application/json-patch+json", "merge": "application/merge-patch+json",
	"strategic": "application/strategic-merge-patch+json", "apply": "application/apply-patch+yaml",
}

// panicked stands for the code of an answer that never came, since the server panicked over the request and reset the stream.
const panicked = 0

// ask fills in the answer. Where somebody else has changed the object meanwhile (controllers in the server do), it asks again with
// the revision that the object has now.
func (a *asker) ask(ctx context.Context, e *exchange) error {
	for {
		err := a.once(ctx, e)
		if stream := (http2.StreamError{}); errors.As(err, &stream) && stream.Code == http2.ErrCodeInternal {
			e.Code, e.Answer = panicked, []byte("null")
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		if e.Code != http.StatusConflict || !bytes.Contains(e.Body, []byte(revision)) || !bytes.Contains(e.Answer, []byte("the object has been modified")) {
			return nil
		}
		object, _, _ := strings.Cut(strings.TrimSuffix(e.Path, dry), "/status")
		now := exchange{Method: http.MethodGet, Path: object}
		before := a.revision
		if err := a.once(ctx, &now); err != nil {
			return err
		}
		if a.revision == before {
			return nil
		}
	}
}

// settled are kinds of whose objects a controller in the server tells something. Answers about them are the same only after that.
var settled = []string{"FlowSchema", "APIService", "CustomResourceDefinition"}

// settle waits, after a new object, until the server has told of it what there is to tell.
func (a *asker) settle(ctx context.Context, e *exchange) error {
	var made struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if e.Code != http.StatusCreated || strings.Contains(e.Path, "dryRun") {
		return nil
	}
	if err := json.Unmarshal(e.Answer, &made); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	if !slices.Contains(settled, made.Kind) {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.host+e.Path+"?watch=true&fieldSelector=metadata.name%3D"+made.Metadata.Name, nil)
	if err != nil {
		return err
	}
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for events := json.NewDecoder(res.Body); ; {
		var event struct {
			Object struct {
				Status struct {
					Conditions []struct{ Type, Status string } `json:"conditions"`
				} `json:"status"`
			} `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			return fmt.Errorf("%s: while waiting for its conditions: %w", e.Name, err)
		}
		conditions := event.Object.Status.Conditions
		unestablished := struct{ Type, Status string }{"Established", "False"} // at first
		if len(conditions) > 0 && !slices.Contains(conditions, unestablished) {
			return nil
		}
	}
}

func (a *asker) once(ctx context.Context, e *exchange) error {
	body := bytes.ReplaceAll(e.Body, []byte(revision), []byte(a.revision))
	req, err := http.NewRequestWithContext(ctx, e.Method, a.host+e.Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaTypes[e.Type])
	req.Header.Set("Accept", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var answer any
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	if o, ok := answer.(map[string]any); ok && !strings.Contains(e.Path, "dryRun") && res.StatusCode < 300 {
		if m, ok := o["metadata"].(map[string]any); ok {
			if rv, ok := m["resourceVersion"].(string); ok {
				a.revision = rv
			}
		}
	}
	e.Code, e.Warnings = res.StatusCode, nil
	warnings, errs := net.ParseWarningHeaders(res.Header.Values("Warning"))
	if len(errs) > 0 {
		return fmt.Errorf("warnings: %v", errs)
	}
	for _, w := range warnings {
		e.Warnings = append(e.Warnings, w.Text)
	}
	e.Answer, err = json.Marshal(neutral{sent: string(body)}.value("", answer))
	return err
}

// neutral takes out of an answer what a server makes up: identities, times, addresses, and names and ports that it chose. What the
// client sent stays.
type neutral struct{ sent string }

var (
	made = regexp.MustCompile(`\b(kube-api-access-[a-z0-9]{5}|Bad_Value![a-z0-9]{5}|g-[a-z0-9]{5}|10\.(9[6-9]|10\d|11[01])\.\d+\.\d+|selfType\d+)\b`)
	// comparison is what a text says after its first line of how two objects differ.
	comparison = regexp.MustCompile(`(?s)\n(@@ -|[\s\x{a0}]*[&a-zA-Z0-9]+\.\w+\{).*`)
	// quotedTime is the time of a manager in metadata that a text quotes.
	quotedTime = regexp.MustCompile(`"time":"[0-9TZ:-]+"`)
	// revisions and identities in texts
	inText = regexp.MustCompile(`(resourceVersion|UID in precondition): [0-9a-f-]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

func (n neutral) value(key string, v any) any {
	switch x := v.(type) {
	case map[string]any:
		if key == "metadata" {
			for _, k := range []string{"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "managedFields"} {
				delete(x, k)
			}
		}
		if key == "details" {
			delete(x, "uid")
		}
		if key == "spec" && x["signerName"] != nil {
			for _, k := range []string{"username", "groups", "uid", "extra"} {
				delete(x, k)
			}
		}
		for k, v := range x {
			x[k] = n.value(k, v)
		}
	case []any:
		for i, v := range x {
			x[i] = n.value(key, v)
		}
	case string:
		return n.text(key, x)
	case float64:
		if (key == "nodePort" || key == "healthCheckNodePort") && !strings.Contains(n.sent, fmt.Sprintf(`"%s":%v`, key, x)) {
			return "@port"
		}
	}
	return v
}

func (n neutral) text(key, s string) string {
	if strings.Contains(n.sent, s) {
		return s
	}
	if _, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return "@time"
	}
	if key == "message" || key == "reason" {
		// What differs between two objects is told by a library that words it differently from build to build, on purpose.
		s = strings.TrimRight(comparison.ReplaceAllString(s, ""), "\n")
	}
	s = quotedTime.ReplaceAllString(s, `"time":"@time"`)
	s = inText.ReplaceAllString(s, "@")
	return made.ReplaceAllStringFunc(s, func(m string) string {
		if strings.Contains(n.sent, m) {
			return m
		}
		return "@made"
	})
}

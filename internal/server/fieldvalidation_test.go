package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server/servertest"
)

const deployments = "/apis/apps/v1/namespaces/default/deployments"

// sloppyYAML is a deployment with unknown and duplicate fields; lines are counted by the YAML decoder.
const sloppyYAML = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: twice
  name: %s
  unknownMeta: m
spec:
  unknown1: a
  unknownDupe: a
  unknownDupe: b
  paused: true
  paused: false
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec:
      containers:
      - name: c
        image: example.test/c
        unknownNested: a
        imagePullPolicy: Always
        imagePullPolicy: Never
`

const sloppyJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"twice","name":"%s","unknownMeta":"m"},
"spec":{"unknown1":"a","unknownDupe":"a","unknownDupe":"b","paused":true,"paused":false,"selector":{"matchLabels":{"app":"x"}},
"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"example.test/c","unknownNested":"a","imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}`

const sloppyPatch = `{"spec":{"unknown1":"a","unknownDupe":"a","unknownDupe":"b","paused":true,"paused":false,
"template":{"spec":{"containers":[{"name":"c","image":"example.test/c","unknownNested":"a","imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}`

const sloppyOperations = `[{"op":"add","path":"/spec/unknown1","value":"a","foo":"bar"},
{"op":"add","path":"/spec/unknown2","path":"/spec/unknown3","value":"a"},
{"op":"add","path":"/spec/template/spec/containers/0/unknownNested","value":"a"}]`

// TestFieldValidation holds each way of writing against the texts that clients look for.
func TestFieldValidation(t *testing.T) {
	w := newWeb(t, servertest.Start(t, nil).REST)
	plain := strings.NewReplacer(`"name":"twice",`, "", `"unknownMeta":"m"`, `"labels":{"a":"b"}`, `"unknown1":"a","unknownDupe":"a","unknownDupe":"b","paused":true,`, "",
		`"unknownNested":"a","imagePullPolicy":"Always",`, "").Replace(sloppyJSON)
	if res, body := w.do("POST", deployments, fmt.Sprintf(plain, "there")); res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	inJSON := []string{`duplicate field "metadata.name"`, `unknown field "metadata.unknownMeta"`, `unknown field "spec.unknown1"`, `unknown field "spec.unknownDupe"`,
		`duplicate field "spec.paused"`, `unknown field "spec.template.spec.containers[0].unknownNested"`, `duplicate field "spec.template.spec.containers[0].imagePullPolicy"`}
	lines := []string{`line 5: key "name" already set in map`, `line 10: key "unknownDupe" already set in map`, `line 12: key "paused" already set in map`, `line 22: key "imagePullPolicy" already set in map`}
	unknown := []string{`unknown field "metadata.unknownMeta"`, `unknown field "spec.template.spec.containers[0].unknownNested"`, `unknown field "spec.unknown1"`, `unknown field "spec.unknownDupe"`}
	inYAML := append(slices.Clone(lines), unknown...)
	strictYAML := "strict decoding error: yaml: unmarshal errors:\n  " + strings.Join(lines, "\n  ") + ", " + strings.Join(unknown, ", ")
	inPatch := append([]string{`duplicate field "spec.unknownDupe"`, `duplicate field "spec.paused"`, `duplicate field "spec.template.spec.containers[0].imagePullPolicy"`}, unknown[1:]...)
	inOperations := []string{`json patch unknown field "[0].foo"`, `json patch duplicate field "[1].path"`, unknown[1], unknown[2], `unknown field "spec.unknown3"`}
	for _, c := range []struct {
		name, method, path, media, body string
		warnings                        []string
		strict                          string
	}{
		{"create JSON", "POST", deployments, "application/json", fmt.Sprintf(sloppyJSON, "new"), inJSON, ""},
		{"create YAML", "POST", deployments, "application/yaml", fmt.Sprintf(sloppyYAML, "new"), inYAML, strictYAML},
		{"update JSON", "PUT", deployments + "/there", "application/json", fmt.Sprintf(sloppyJSON, "there"), inJSON, ""},
		{"update YAML", "PUT", deployments + "/there", "application/yaml", fmt.Sprintf(sloppyYAML, "there"), inYAML, strictYAML},
		{"merge patch", "PATCH", deployments + "/there", "application/merge-patch+json", sloppyPatch, inPatch, ""},
		{"strategic merge patch", "PATCH", deployments + "/there", "application/strategic-merge-patch+json", sloppyPatch, inPatch, ""},
		{"JSON patch", "PATCH", deployments + "/there", "application/json-patch+json", sloppyOperations, inOperations, ""},
		{"apply", "PATCH", deployments + "/new", "application/apply-patch+yaml", fmt.Sprintf(strings.NewReplacer("  unknownMeta: m\n", "", "  unknown1: a\n  unknownDupe: a\n  unknownDupe: b\n", "", "        unknownNested: a\n", "").Replace(sloppyYAML), "new"),
			[]string{`line 5: key "name" already set in map`, `line 8: key "paused" already set in map`, `line 17: key "imagePullPolicy" already set in map`},
			"error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"name\" already set in map\n  line 8: key \"paused\" already set in map\n  line 17: key \"imagePullPolicy\" already set in map"},
	} {
		if c.strict == "" {
			c.strict = "strict decoding error: " + strings.Join(c.warnings, ", ")
		}
		for _, level := range []string{"", "Warn", "Ignore", "Strict"} {
			t.Run(c.name+level, func(t *testing.T) {
				res, body := (&web{t, w.host, w.h}).do(c.method, c.path+"?dryRun=All&fieldManager=m&fieldValidation="+level, c.body, "Content-Type", c.media)
				if level == "Strict" {
					var st metav1.Status
					if err := json.Unmarshal(body, &st); err != nil || res.StatusCode/100 != 4 || !strings.HasSuffix(st.Message, c.strict) {
						t.Errorf("%d %s\nwant …%s", res.StatusCode, st.Message, c.strict)
					}
					return
				}
				want := c.warnings
				if level == "Ignore" {
					want = nil
				}
				var got []string
				for _, h := range res.Header.Values("Warning") {
					text, _ := strings.CutPrefix(h, `299 - "`)
					got = append(got, strings.ReplaceAll(strings.TrimSuffix(text, `"`), `\"`, `"`))
				}
				if res.StatusCode >= 300 || !slices.Equal(got, want) {
					t.Errorf("%d %s\ngot  %q\nwant %q", res.StatusCode, body, got, want)
				}
			})
		}
	}
}

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// settings is a config map with one value.
func settings(value string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"kept": "x", "value": %q}}`, value)
}

// testApply is the life of a manifest that is applied, by the client and by the server.
func testApply(t *testing.T, k kubectl) {
	for _, flags := range [][]string{nil, {"--server-side"}} {
		name := fmt.Sprintf("apply %v", flags)
		apply := func(manifest, want string) {
			t.Helper()
			if got := k.feed(manifest, append([]string{"apply", "-f", "-"}, flags...)...); got != want+"\n" {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		diff := func(manifest string, want int, lines ...string) {
			t.Helper()
			out, errOut, code := k.do(manifest, append([]string{"diff", "-f", "-"}, flags...)...)
			if code != want {
				t.Errorf("diff %v: exit code %d, want %d: %s%s", flags, code, want, out, errOut)
			}
			has(t, "diff", out, lines...)
		}
		created, changed, same := "configmap/settings created", "configmap/settings configured", "configmap/settings unchanged"
		if flags != nil {
			created, changed, same = "configmap/settings serverside-applied", "configmap/settings serverside-applied", "configmap/settings serverside-applied"
		}
		diff(settings("1"), 1, "+  value: \"1\"")
		apply(settings("1"), created)
		diff(settings("1"), 0)
		before := k.run("get", "configmap", "settings", "-o", "jsonpath={.metadata.resourceVersion}")
		apply(settings("1"), same)
		if after := k.run("get", "configmap", "settings", "-o", "jsonpath={.metadata.resourceVersion}"); after != before {
			t.Errorf("%s: applying the same made version %s of %s", name, after, before)
		}
		diff(settings("2"), 1, "-  value: \"1\"", "+  value: \"2\"")
		apply(settings("2"), changed)
		// What others added stays, what the manifest no longer has goes.
		k.run("patch", "configmap", "settings", "-p", `{"data":{"theirs":"y"}}`)
		apply(strings.Replace(settings("3"), `"kept": "x", `, "", 1), changed)
		if got := k.run("get", "configmap", "settings", "-o", "jsonpath={.data}"); got != `{"theirs":"y","value":"3"}` {
			t.Errorf("%s: the data are %s", name, got)
		}
		k.feed(settings("4"), append([]string{"apply", "-f", "-", "--dry-run=server"}, flags...)...)
		if got := k.run("get", "configmap", "settings", "-o", "jsonpath={.data.value}"); got != "3" {
			t.Errorf("%s: a dry run wrote %s", name, got)
		}
		k.run("delete", "configmap", "settings")
	}

	// A deployment, with defaults and lists that are merged by key.
	k.run("apply", "-f", "testdata/web.yaml")
	if out, _, code := k.try("diff", "-f", "testdata/web.yaml"); code != 0 {
		t.Errorf("diff of a deployment that was just applied: exit code %d: %s", code, out)
	}
	k.says(words("apply -f testdata/web.yaml"), "deployment.apps/web unchanged")
	k.says(words("apply view-last-applied deployment web"), "maxUnavailable: 0")
	k.says(words("apply -f testdata/web.yaml --prune --selector=app=web --dry-run=server"), "deployment.apps/web unchanged (server dry run)")
	k.says(words("delete -f testdata/web.yaml"), `deployment.apps "web" deleted`)

	typo := strings.Replace(settings("1"), `"data"`, `"dota"`, 1)
	if _, errOut, code := k.do(typo, "apply", "-f", "-"); code != 1 || !strings.Contains(errOut, `strict decoding error: unknown field "dota"`) {
		t.Errorf("an unknown field: exit code %d: %s", code, errOut)
	}
	if _, errOut, code := k.do(typo, "apply", "--validate=warn", "-f", "-"); code != 0 || !strings.Contains(errOut, `Warning: unknown field "dota"`) {
		t.Errorf("an unknown field, with --validate=warn: exit code %d: %s", code, errOut)
	}
}

// testConflicts has several managers apply to one object.
func testConflicts(t *testing.T, k kubectl) {
	apply := func(manager, manifest string, flags ...string) (string, int) {
		t.Helper()
		_, errOut, code := k.do(manifest, append([]string{"apply", "--server-side", "--field-manager=" + manager, "-f", "-"}, flags...)...)
		return errOut, code
	}
	if text, code := apply("one", settings("1")); code != 0 {
		t.Fatal(text)
	}
	if text, code := apply("two", settings("1")); code != 0 {
		t.Errorf("the same by another manager: %s", text)
	}
	text, code := apply("two", settings("2"))
	if code == 0 {
		t.Error("a conflict was not seen")
	}
	has(t, "the conflict", text, `Apply failed with 1 conflict: conflict with "one": .data.value`)
	if text, code := apply("two", settings("2"), "--force-conflicts"); code != 0 {
		t.Error(text)
	}
	if got := k.run("get", "configmap", "settings", "-o", "jsonpath={.data.value}"); got != "2" {
		t.Errorf("after --force-conflicts the value is %q", got)
	}
	k.says(words("get configmap settings --show-managed-fields -o jsonpath={range.metadata.managedFields[*]}{.manager}={.operation}={.fieldsV1};{end}"),
		`one=Apply={"f:data":{"f:kept":{}}};`, `two=Apply={"f:data":{"f:kept":{},"f:value":{}}};`)
	// An object that was applied by the client goes over to the server.
	k.feed(strings.Replace(settings("1"), "settings", "moved", 1), "apply", "-f", "-")
	k.feed(strings.Replace(settings("2"), "settings", "moved", 1), "apply", "--server-side", "-f", "-")
	k.feed(strings.Replace(settings("3"), "settings", "moved", 1), "apply", "-f", "-")
	if got := k.run("get", "configmap", "moved", "-o", "jsonpath={.data.value}"); got != "3" {
		t.Errorf("applied by client, server and client the value is %q", got)
	}
}

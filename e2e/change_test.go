package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parked is a deployment without pods, to be changed.
func parked(k kubectl) {
	k.h.t.Helper()
	k.run("create", "deployment", "parked", "--image="+webImage, "--replicas=0")
}

func testChange(t *testing.T, k kubectl) {
	parked(k)
	k.run("label", "deployment", "parked", "tier=front")
	has(t, "label again", k.fails("label", "deployment", "parked", "tier=back"), "already has a value (front), and --overwrite is false")
	k.run("label", "deployment", "parked", "tier=back", "--overwrite")
	k.says(words("get deployments -l tier=back,app!=x -o name"), "deployment.apps/parked")
	k.run("label", "deployments", "--all", "tier-")
	k.run("annotate", "deployment", "parked", "note=some text")
	k.says(words("get deployment parked -o jsonpath={.metadata.annotations.note}/{.metadata.labels}"), `some text/{"app":"parked"}`)
	has(t, "a bad label", k.fails("label", "deployment", "parked", "a=b c"), "a valid label must be")

	k.run("set", "image", "deployment/parked", "*="+webImage2)
	k.run("set", "env", "deployment/parked", "COLOUR=red")
	k.run("set", "resources", "deployment/parked", "--limits=memory=64Mi", "--requests=cpu=10m")
	k.run("set", "serviceaccount", "deployment/parked", "default")
	k.says(words("get deployment parked -o jsonpath={.spec.template.spec.containers[0]['image','env','resources']}"),
		webImage2+` [{"name":"COLOUR","value":"red"}] {"limits":{"memory":"64Mi"},"requests":{"cpu":"10m"}}`)
	k.run("create", "service", "clusterip", "parked", "--tcp=80")
	k.run("set", "selector", "service", "parked", "app=other")
	k.says(words("get service parked -o jsonpath={.spec.selector}"), `{"app":"other"}`)

	k.says(words("autoscale deployment parked --min=2 --max=5 --cpu=80%"), "horizontalpodautoscaler.autoscaling/parked autoscaled")
	k.says(words("get hpa parked"), "Deployment/parked", "cpu: <unknown>/80%")
	k.run("scale", "deployment/parked", "--replicas=1", "--current-replicas=0")
	has(t, "a scale from elsewhere", k.fails("scale", "deployment/parked", "--replicas=0", "--current-replicas=7"), "Expected replicas to be 7, was 1")

	// Replacing needs the version that one has seen.
	text := k.run("get", "deployment", "parked", "-o", "json")
	k.run("annotate", "deployment", "parked", "note=newer", "--overwrite")
	_, errOut, code := k.do(text, "replace", "-f", "-")
	if code == 0 || !strings.Contains(errOut, "the object has been modified; please apply your changes to the latest version and try again") {
		t.Errorf("replace with an old version: exit code %d: %s", code, errOut)
	}
	k.feed(strings.Replace(k.run("get", "deployment", "parked", "-o", "json"), `"note": "newer"`, `"note": "newest"`, 1), "replace", "-f", "-")
	k.says(words("get deployment parked -o jsonpath={.metadata.annotations.note}"), "newest")
	uid := k.run("get", "deployment", "parked", "-o", "jsonpath={.metadata.uid}")
	k.feed(text, "replace", "--force", "-f", "-")
	if again := k.run("get", "deployment", "parked", "-o", "jsonpath={.metadata.uid}"); again == uid {
		t.Error("replace --force left the same object")
	}
}

func testPatch(t *testing.T, k kubectl) {
	parked(k)
	image := words("get deployment parked -o jsonpath={.spec.template.spec.containers[*].name}/{.spec.template.spec.containers[0].image}/{.spec.paused}")
	for _, c := range []struct{ kind, patch, want string }{
		{"strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"example.test/side:1"}]}}}}`, "side webapp/example.test/side:1/"},
		{"strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}`, "webapp/" + webImage + "/"},
		{"json", `[{"op":"test","path":"/spec/replicas","value":0},{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + webImage2 + `"}]`, "webapp/" + webImage2 + "/"},
		{"merge", `{"spec":{"paused":true}}`, "webapp/" + webImage2 + "/true"},
		{"merge", `{"spec":{"paused":null}}`, "webapp/" + webImage2 + "/"},
		{"merge", `{"spec":{"template":{"spec":{"containers":[{"name":"only","image":"x"}]}}}}`, "only/x/"},
	} {
		k.run("patch", "deployment", "parked", "--type="+c.kind, "-p", c.patch)
		if got := k.run(image...); got != c.want {
			t.Errorf("patch of type %s %s: %q, want %q", c.kind, c.patch, got, c.want)
		}
	}
	k.says(words("patch deployment parked --subresource=scale --type=merge -p {\"spec\":{\"replicas\":0}}"), "scale.autoscaling/parked patched")
	has(t, "a test that fails", k.fails("patch", "deployment", "parked", "--type=json", "-p", `[{"op":"test","path":"/spec/replicas","value":9}]`), "the server rejected our request due to an error in our request")
	has(t, "what there is not", k.fails("patch", "deployment", "parked", "--type=json", "-p", `[{"op":"remove","path":"/spec/none"}]`), "the server rejected our request due to an error in our request")
	has(t, "an invalid result", k.fails("patch", "deployment", "parked", "-p", `{"spec":{"replicas":-1}}`), `spec.replicas: Invalid value: -1: must be greater than or equal to 0`)
	has(t, "what must not change", k.fails("patch", "deployment", "parked", "--type=merge", "-p", `{"spec":{"selector":{"matchLabels":{"app":"x"}}}}`), "field is immutable")
	has(t, "no JSON", k.fails("patch", "deployment", "parked", "-p", "{"), "invalid JSON patch")
	has(t, "another type", k.fails("patch", "deployment", "parked", "-p", `{"spec":{"replicas":"many"}}`), "replicas")
}

// testEdit has an editor that is a program.
func testEdit(t *testing.T, k kubectl) {
	parked(k)
	edit := func(script string) (string, string, int) {
		t.Helper()
		editor := filepath.Join(t.TempDir(), "editor")
		if err := os.WriteFile(editor, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return k.with("KUBE_EDITOR=", "EDITOR="+editor).try("edit", "deployment", "parked")
	}
	if out, errOut, code := edit(`sed -i 's/  replicas: 0/  replicas: 1/; s/^  labels:/&\n    edited: "yes"/' "$1"`); code != 0 || !strings.Contains(out, "deployment.apps/parked edited") {
		t.Errorf("edit: exit code %d: %s%s", code, out, errOut)
	}
	k.says(words("get deployment parked -o jsonpath={.spec.replicas}{.metadata.labels.edited}"), "1yes")
	if out, errOut, code := edit("true"); code != 0 || !strings.Contains(out+errOut, "Edit cancelled, no changes made.") {
		t.Errorf("edit without a change: exit code %d: %s%s", code, out, errOut)
	}
	// What is refused is put before the user again, with what is wrong.
	if out, errOut, code := edit(`grep -q 'replicas: -1' "$1" && { cat "$1"; exit 0; }; sed -i 's/  replicas: 1/  replicas: -1/' "$1"`); code == 0 || !strings.Contains(out+errOut, "must be greater than or equal to 0") {
		t.Errorf("edit with a bad value: exit code %d: %s%s", code, out, errOut)
	}
}

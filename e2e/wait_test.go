package e2e

import (
	"testing"
)

func testWait(t *testing.T, k kubectl) {
	p := k.start(words("wait --for=create configmap/later --timeout=30s")...)
	k.run("create", "configmap", "later", "--from-literal=a=b")
	p.expect("configmap/later condition met")
	p = k.start(words("wait --for=jsonpath={.data.a}=c configmap/later --timeout=30s")...)
	k.run("patch", "configmap", "later", "-p", `{"data":{"a":"c"}}`)
	p.expect("configmap/later condition met")
	p = k.start(words("wait --for=delete configmap/later --timeout=30s")...)
	k.run("delete", "configmap", "later")
	if code := p.wait(); code != 0 { // and nothing is said if it was gone already
		t.Errorf("wait --for=delete: exit code %d: %s", code, p.rest())
	}

	k.run("create", "deployment", "web", "--image="+webImage)
	k.says(words("wait --for=condition=Available deployment/web --timeout=30s"), "deployment.apps/web condition met")
	k.says(words("wait --for=condition=Ready pods --all --timeout=30s"), "condition met")
	k.says(words("wait --for=jsonpath={.status.phase}=Running pods -l app=web --timeout=30s"), "condition met")
	has(t, "a condition that does not come", k.fails(words("wait --for=condition=Nonsense deployment/web --timeout=1s")...), "timed out waiting for the condition on deployments/web")
	has(t, "what there is not", k.fails(words("wait --for=condition=Ready pod/none --timeout=1s")...), `pods "none" not found`)
}

// testCascade deletes a deployment in each of the ways that there are for what depends on it.
func testCascade(t *testing.T, k kubectl) {
	deploy := func() {
		t.Helper()
		k.run("create", "deployment", "web", "--image="+webImage, "--", "/webapp", "wait")
		k.run("rollout", "status", "deployment/web", "--timeout=30s")
	}
	left := func() []string { return words(k.run("get", "replicasets,pods", "-o", "name")) }

	deploy()
	k.run("delete", "deployment", "web", "--cascade=orphan")
	if got := left(); len(got) != 2 {
		t.Errorf("orphan left %q, want the replica set and its pod", got)
	}
	k.says(words("get replicasets,pods -o jsonpath={range.items[*]}{.metadata.ownerReferences[*].kind};{end}"), ";ReplicaSet;")
	k.run("delete", "replicasets", "--all", "--cascade=orphan")
	if got := left(); len(got) != 1 {
		t.Errorf("orphan left %q, want the pod", got)
	}
	k.says(words("get pods -o jsonpath=[{.items[0].metadata.ownerReferences}]"), "[]")
	k.run("delete", "pods", "--all", "--now")

	deploy()
	k.run("delete", "deployment", "web", "--cascade=foreground")
	if got := left(); len(got) != 0 {
		t.Errorf("foreground was done with %q left", got)
	}

	deploy()
	k.run("delete", "deployment", "web", "--cascade=background")
	k.run("wait", "--for=delete", "replicasets,pods", "-l", "app=web", "--timeout=30s")
	if got := left(); len(got) != 0 {
		t.Errorf("background left %q", got)
	}

	deploy()
	pod := k.run("get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
	k.run("scale", "deployment/web", "--replicas=0")
	k.run("wait", "--for=delete", "pod/"+pod, "--timeout=30s")
	k.run("delete", "deployment", "web", "--dry-run=server")
	k.run("get", "deployment", "web")
	k.run("delete", "all", "--all", "--wait=false")

	k.run("create", "namespace", k.ns+"-sub")
	k.run("create", "configmap", "inside", "--namespace="+k.ns+"-sub")
	k.run("delete", "namespace", k.ns+"-sub")
	has(t, "in a namespace that is gone", k.fails("get", "configmap", "inside", "--namespace="+k.ns+"-sub"), "not found")
	k.says(words("delete configmap none --ignore-not-found"), "")
	has(t, "delete of nothing", k.fails("delete", "configmap", "none"), `configmaps "none" not found`)

	k.run("run", "stuck", "--image="+webImage, "--command", "--", "/webapp", "wait")
	k.says(words("delete pod stuck --grace-period=0 --force"), `pod "stuck" force deleted`)
}

// testRefusals sends what is wrong.
func testRefusals(t *testing.T, k kubectl) {
	for name, c := range map[string]struct{ manifest, want string }{
		"no selector": {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bad"},"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`,
			"The Deployment \"bad\" is invalid: \n* spec.selector: Required value\n* spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
		"wrong type": {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bad"},"spec":{"replicas":"three"}}`,
			`Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`},
		"no such kind": {`{"apiVersion":"apps/v1","kind":"Nothing","metadata":{"name":"bad"}}`, `no matches for kind "Nothing" in version "apps/v1"`},
		"no name":      {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}`, "name or generateName is required"},
		"bad name":     {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Bad_Name"}}`, `metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of`},
		"no YAML":      {"a: b: c", "error converting YAML to JSON"},
		"namespace":    {`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"elsewhere"}}`, "the namespace from the provided object \"elsewhere\" does not match the namespace"},
	} {
		_, errOut, code := k.do(c.manifest, "create", "-f", "-")
		if code == 0 {
			t.Errorf("%s: accepted", name)
		}
		has(t, name, errOut, c.want)
	}
	k.run("create", "configmap", "once")
	has(t, "twice", k.fails("create", "configmap", "once"), `configmaps "once" already exists`)
	has(t, "no such namespace", k.fails("create", "configmap", "x", "--namespace=nowhere"), `namespaces "nowhere" not found`)
	has(t, "no such resource", k.fails("get", "nothings"), `the server doesn't have a resource type "nothings"`)
	has(t, "no such flag", k.fails("get", "--nothing"), "unknown flag: --nothing", "See 'kubectl get --help' for usage.")
	k.ns = "" // a command that might be a plugin's must be the first word
	has(t, "no such command", k.fails("nothing"), `unknown command "nothing" for "kubectl"`)
}

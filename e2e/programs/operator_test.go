package programs

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// testOperator runs an operator in the cluster: see the program operator.
func testOperator(t *testing.T, c cluster) {
	o := operator{kubectl{t: t, c: c, program: c.upstream(t, "kubectl"), ns: c.namespace(t, "stage")}}
	o.install()
	o.opens()
	o.refuses()
	o.converts()
	o.heals()
	o.outlivesServer()
	o.changesLeader()
	o.closes()
}

// operator is the command line of the one who runs it.
type operator struct{ kubectl }

// install applies the operator's manifests, with certificates for its webhooks.
func (o operator) install() {
	o.t.Helper()
	crt, key, err := cert.GenerateSelfSignedCertKey("operator."+o.ns+".svc", nil, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	fill := strings.NewReplacer("NAMESPACE", o.ns, "CABUNDLE", base64.StdEncoding.EncodeToString(crt),
		"TLSCRT", base64.StdEncoding.EncodeToString(crt), "TLSKEY", base64.StdEncoding.EncodeToString(key))
	apply := func(file string) {
		o.t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata/operator", file))
		if err != nil {
			o.t.Fatal(err)
		}
		manifest := fill.Replace(string(text))
		o.feed(manifest, "apply", "--server-side", "-f", "-")
		o.t.Cleanup(func() { o.feed(manifest, "delete", "--ignore-not-found", "--wait=false", "-f", "-") })
	}
	apply("crd.yaml")
	o.run("wait", "--for=condition=Established", "crd/sites.stage.example.test", "--timeout=30s")
	apply("operator.yaml")
	o.run("rollout", "status", "deployment/operator", "--timeout=60s")
	apply("webhooks.yaml")
}

// site is a manifest of one.
func site(name, version, spec string) string {
	return `{"apiVersion": "stage.example.test/` + version + `", "kind": "Site", "metadata": {"name": "` + name + `"}, "spec": {` + spec + `}}`
}

func (o operator) ready(name string) {
	o.t.Helper()
	o.run("wait", "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", "site/"+name, "--timeout=60s")
}

func (o operator) field(what, path string) string {
	o.t.Helper()
	return o.run("get", what, "-o", "jsonpath={"+path+"}")
}

// opens makes a site, of which the webhook fills in what is not said.
func (o operator) opens() {
	o.t.Helper()
	o.feed(site("one", "v1", `"text": "v1"`), "apply", "-f", "-")
	has(o.t, "filled in", o.field("site/one", ".spec"), `{"replicas":1,"text":"v1","tier":"silver"}`)
	has(o.t, "its label", o.run("get", "sites", "-l", "stage.example.test/tier=silver", "-o", "name"), "site.stage.example.test/one")
	o.ready("one")
	has(o.t, "columns", o.run("get", "sites"), "NAME TIER READY", "one silver 1")
	has(o.t, "its deployment", o.field("deployment/one", ".metadata.ownerReferences[0].kind"), "Site")
	has(o.t, "events", o.run("events", "--for=site/one"), "Opened", "made deployment one")
	o.run("scale", "site/one", "--replicas=2")
	o.run("wait", "--for=jsonpath={.status.readyReplicas}=2", "site/one", "--timeout=60s")
	has(o.t, "explain", o.run("explain", "site.spec.replicas"), "GROUP: stage.example.test", "How many servers there are.")
	has(o.t, "by a field", o.run("get", "sites", "--field-selector=spec.tier=silver", "-o", "name"), "site.stage.example.test/one")
}

// refuses tries what the schema, its rules and the webhook forbid.
func (o operator) refuses() {
	o.t.Helper()
	o.feed(site("two", "v1", `"tier": "gold", "text": "v2"`), "apply", "-f", "-")
	o.ready("two") // and so in the webhook's cache
	refused := func(why, manifest string, want ...string) {
		o.t.Helper()
		file := filepath.Join(o.t.TempDir(), "site.json")
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			o.t.Fatal(err)
		}
		has(o.t, why, o.c.fails(o.t, o.program, o.args([]string{"apply", "-f", file})...), want...)
	}
	refused("a second gold", site("bad", "v1", `"tier": "gold"`), `admission webhook "check.stage.example.test" denied the request: site two has the gold already`)
	refused("no tier", site("bad", "v1", `"tier": "tin"`), `spec.tier: Unsupported value: "tin": supported values: "gold", "silver", "bronze"`)
	refused("a rule", site("bad", "v1", `"replicas": 10`), "more than 9 replicas need gold")
	refused("an unknown field", site("bad", "v1", `"colour": "red"`), `unknown field "spec.colour"`)
	o.run("annotate", "site/two", "stage.example.test/keep=yes")
	has(o.t, "deleting what is kept", o.c.fails(o.t, o.program, o.args([]string{"delete", "site/two"})...), "site two is to be kept")
	o.run("annotate", "site/two", "stage.example.test/keep-")
	warned := o.c.command(o.t, o.program, o.args([]string{"create", "-f", "-", "--dry-run=server"})...)
	warned.Stdin = strings.NewReader(site("warned", "v1", `"tier": "bronze"`))
	out, err := warned.CombinedOutput()
	if err != nil {
		o.t.Errorf("a warning: %v", err)
	}
	has(o.t, "a warning", string(out), "Warning: tier bronze will be dropped", "site.stage.example.test/warned created (server dry run)")
}

// converts reads and writes the old version.
func (o operator) converts() {
	o.t.Helper()
	old := "sites.v1beta1.stage.example.test"
	has(o.t, "the old form", o.run("get", old, "one", "-o", "jsonpath={.apiVersion} {.spec}"), `stage.example.test/v1beta1 {"size":2,"text":"v1","tier":"silver"}`)
	o.run("patch", old, "one", "--type=merge", "-p", `{"spec":{"size":1}}`)
	has(o.t, "the new form", o.field("site/one", ".spec.replicas"), "1")
	o.feed(site("three", "v1beta1", `"size": 1, "text": "v3"`), "apply", "--server-side", "-f", "-")
	o.ready("three")
	has(o.t, "what was old", o.field("site/three", ".spec"), `{"replicas":1,"text":"v3","tier":"silver"}`)
	has(o.t, "all of the old form", o.run("get", old, "-o", "jsonpath={.items[*].spec.size}"), "1 1 1")
}

// heals takes away what the operator made.
func (o operator) heals() {
	o.t.Helper()
	before := o.field("deployment/one", ".metadata.uid")
	o.run("delete", "deployment", "one")
	o.run("wait", "--for=create", "deployment/one", "--timeout=60s")
	if after := o.field("deployment/one", ".metadata.uid"); after == before {
		o.t.Error("the deployment was not made anew")
	}
	o.ready("one")
}

// outlivesServer stops the API server and starts it again under the operator and under informers.
func (o operator) outlivesServer() {
	o.t.Helper()
	seen := watchAll(o.t, o.c, o.ns)
	pods := []string{"get", "pods", "-l", "app=operator", "-o", "jsonpath={.items[*].metadata.uid}"}
	before := o.run(pods...)
	o.c.down(o.t)
	o.c.up(o.t)
	o.run("wait", "--for=condition=Available", "deployment/operator", "--timeout=60s")
	o.feed(site("four", "v1", `"text": "v4"`), "apply", "-f", "-")
	o.ready("four")
	o.run("scale", "site/four", "--replicas=2")
	o.run("wait", "--for=jsonpath={.status.readyReplicas}=2", "site/four", "--timeout=60s")
	has(o.t, "the old form", o.run("get", "sites.v1beta1.stage.example.test", "four", "-o", "jsonpath={.spec.size}"), "2")
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "after"}}
	if _, err := o.c.client(o.t).CoreV1().ConfigMaps(o.ns).Create(o.t.Context(), m, metav1.CreateOptions{}); err != nil {
		o.t.Fatal(err)
	}
	seen.await(o.t, "after", true)
	if after := o.run(pods...); after != before {
		o.t.Errorf("the operator's pods were %s and are %s", before, after)
	}
}

// changesLeader ends the operator that leads.
func (o operator) changesLeader() {
	o.t.Helper()
	lease := "lease/operator.stage.example.test"
	leader, _, _ := strings.Cut(o.field(lease, ".spec.holderIdentity"), "_")
	o.run("delete", "pod", leader)
	o.run("scale", "site/four", "--replicas=1")
	o.run("wait", "--for=jsonpath={.status.readyReplicas}=1", "site/four", "--timeout=60s")
	if now := o.field("site/four", ".status.leader"); now == leader || now == "" {
		o.t.Errorf("the leader was %q and is %q", leader, now)
	}
}

// closes deletes the sites, which the operator writes down first.
func (o operator) closes() {
	o.t.Helper()
	o.run("delete", "sites", "--all", "--timeout=60s")
	has(o.t, "the closed", o.field("configmap/closed", ".data"), `{"four":"v4","one":"v1","three":"v3","two":"v2"}`)
	o.run("wait", "--for=delete", "deployments", "-l", "site", "--timeout=60s")
}

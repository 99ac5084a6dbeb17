package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testKubectls runs the same commands by the cluster's own minor version of kubectl and the one before.
func testKubectls(t *testing.T, c cluster) {
	for program, version := range map[string]string{"kubectl": "v1.37.", "kubectl-previous": "v1.36."} {
		t.Run(program, func(t *testing.T) {
			k := kubectl{t: t, c: c, program: c.upstream(t, program), ns: c.namespace(t, program)}
			has(t, "version", k.run("version"), "Client Version: "+version, "Server Version: v1.37.")
			k.changes()
			k.rolls()
			k.streams()
			k.looks()
		})
	}
}

// kubectl is a command line in a namespace.
type kubectl struct {
	t           *testing.T
	c           cluster
	program, ns string
}

func (k kubectl) args(args []string) []string { return append([]string{"-n", k.ns}, args...) }

func (k kubectl) run(args ...string) string {
	k.t.Helper()
	return k.c.run(k.t, k.program, k.args(args)...)
}

func (k kubectl) feed(input string, args ...string) string {
	k.t.Helper()
	return k.c.feed(k.t, input, k.program, k.args(args)...)
}

// web is a deployment with a service.
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.test/webapp:1
        args: [serve, v1]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
`

// changes applies a manifest by the client and by the server, and looks at what would change.
func (k kubectl) changes() {
	k.t.Helper()
	has(k.t, "apply", k.feed(web, "apply", "-f", "-"), "deployment.apps/web created", "service/web created")
	has(k.t, "apply again", k.feed(web, "apply", "-f", "-"), "deployment.apps/web unchanged", "service/web unchanged")
	if out := k.feed(web, "diff", "-f", "-"); out != "" {
		k.t.Errorf("diff of what is applied: %s", out)
	}
	manifest := filepath.Join(k.t.TempDir(), "web.yaml")
	if err := os.WriteFile(manifest, []byte(strings.Replace(web, "replicas: 2", "replicas: 3", 1)), 0o600); err != nil {
		k.t.Fatal(err)
	}
	has(k.t, "diff", k.c.fails(k.t, k.program, k.args([]string{"diff", "-f", manifest})...), "- replicas: 2", "+ replicas: 3")
	k.run("apply", "-f", manifest)
	has(k.t, "a server-side apply", k.feed(web, "apply", "--server-side", "--force-conflicts", "-f", "-"), "deployment.apps/web serverside-applied")
	has(k.t, "replicas", k.run("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"), "2")
}

// rolls follows a roll-out to another version, one that cannot be, and the way back.
func (k kubectl) rolls() {
	k.t.Helper()
	has(k.t, "rollout", k.run("rollout", "status", "deployment/web", "--timeout=60s"), `deployment "web" successfully rolled out`)
	k.run("set", "env", "deployment/web", "COLOUR=green")
	k.run("rollout", "status", "deployment/web", "--timeout=60s")
	has(k.t, "history", k.run("rollout", "history", "deployment/web"), "REVISION CHANGE-CAUSE", "1 <none>", "2 <none>")
	has(k.t, "a revision", k.run("rollout", "history", "deployment/web", "--revision=2"), "COLOUR: green")
	k.run("rollout", "undo", "deployment/web")
	k.run("rollout", "restart", "deployment/web")
	k.run("rollout", "status", "deployment/web", "--timeout=60s")
	has(k.t, "a deployment", k.run("get", "deployment", "web", "-o", "wide"), "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR", "web 2/2 2 2", "example.test/webapp:1 app=web")
}

// streams runs commands in containers and reads what they say.
func (k kubectl) streams() {
	k.t.Helper()
	k.run("run", "one", "--image="+webImage, "--restart=Never", "--", "count", "3", "1ms")
	k.run("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/one", "--timeout=60s")
	if out := k.run("logs", "one"); out != "1\n2\n3\n" {
		k.t.Errorf("logs: %q", out)
	}
	if out := k.run("logs", "one", "--tail=1", "--timestamps"); !strings.HasSuffix(out, "Z 3\n") {
		k.t.Errorf("the last line with its time: %q", out)
	}
	has(k.t, "exec", k.run("exec", "deployment/web", "--", "/webapp", "echo", "hello"), "hello")
	has(k.t, "exec with input", k.feed("one\nexit 0\n", "exec", "-i", "deployment/web", "--", "/webapp", "terminal"), "one")
	has(k.t, "exit code", k.c.fails(k.t, k.program, k.args([]string{"exec", "deployment/web", "--", "/webapp", "fail", "3", "text"})...), "exit code 3")
	file := filepath.Join(k.t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	// Pods of the version before may still be ending.
	pod := strings.Fields(k.run("get", "pods", "-l", "app=web", "-o", "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}"))[0]
	k.run("cp", file, pod+":/tmp/file")
	k.run("cp", pod+":/tmp/file", file+".back")
	if text, err := os.ReadFile(file + ".back"); err != nil || string(text) != "content" {
		k.t.Errorf("a copy there and back: %q, %v", text, err)
	}
}

// looks asks what there is and what it means.
func (k kubectl) looks() {
	k.t.Helper()
	has(k.t, "explain", k.run("explain", "deployment.spec.strategy.rollingUpdate"), "GROUP: apps", "FIELD: rollingUpdate <RollingUpdateDeployment>", "maxSurge <IntOrString>")
	has(k.t, "explain all", k.run("explain", "hpa.spec", "--recursive"), "maxReplicas <integer> -required-")
	has(k.t, "api-resources", k.run("api-resources", "-o", "wide"), "NAME SHORTNAMES APIVERSION NAMESPACED KIND VERBS CATEGORIES",
		"deployments deploy apps/v1 true Deployment create,delete,deletecollection,get,list,patch,update,watch all")
	has(k.t, "api-versions", k.run("api-versions"), "admissionregistration.k8s.io/v1", "apps/v1", "storage.k8s.io/v1")
	has(k.t, "get all", k.run("get", "all"), "pod/web-", "service/web ClusterIP", "deployment.apps/web 2/2", "replicaset.apps/web-")
	has(k.t, "describe", k.run("describe", "deployment", "web"), "StrategyType: RollingUpdate", "ScalingReplicaSet")
	has(k.t, "events", k.run("events", "--for=deployment/web"), "ScalingReplicaSet")
	has(k.t, "can-i", k.run("auth", "can-i", "--list"), "*.*", "selfsubjectreviews.authentication.k8s.io")
	has(k.t, "whoami", k.run("auth", "whoami"), "Username kubernetes-admin")
	has(k.t, "create dry", k.run("create", "job", "x", "--image="+webImage, "--dry-run=server", "-o", "yaml"), "kind: Job", "backoffLimit: 6")
}

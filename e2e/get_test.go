package e2e

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// columns are the headers of upstream's tables, with -o wide.
var columns = map[string]string{
	"pods":                            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
	"services":                        "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
	"deployments":                     "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
	"replicasets":                     "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR",
	"nodes":                           "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
	"endpointslices":                  "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
	"serviceaccounts":                 "NAME AGE",
	"configmaps":                      "NAME DATA AGE",
	"events":                          "LAST SEEN TYPE REASON OBJECT SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME",
	"namespaces":                      "NAME STATUS AGE",
	"clusterroles":                    "NAME CREATED AT",
	"priorityclasses":                 "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
	"componentstatuses":               "NAME STATUS MESSAGE ERROR",
	"clusterrolebindings":             "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS",
	"leases --namespace=" + nodeLease: "NAME HOLDER AGE",
	"deployments,services":            "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
	"pods --all-namespaces":           "NAMESPACE NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
	"pods --show-labels":              "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES LABELS",
	"pods --label-columns=app":        "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES APP",
	"pods --sort-by=.metadata.name":   "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
	"pods --field-selector=a=b":       "",
	"pods --selector=app=web":         "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
	"pods --server-print=false":       "NAME AGE",
	"deployment/web service/web":      "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
	"configmaps --chunk-size=1":       "NAME DATA AGE",
	"pods --ignore-not-found nothing": "",
}

const nodeLease = "kube-node-lease"

var gap = regexp.MustCompile(` {2,}|\s+$`)

func testGet(t *testing.T, k kubectl) {
	k.run("create", "-f", "testdata/web.yaml")
	k.run("expose", "deployment", "web", "--port=80", "--target-port=8080")
	k.run("create", "configmap", "settings", "--from-literal=a=b")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	for args, want := range columns {
		out, errOut, code := k.try(append(words("get -o wide"), words(args)...)...)
		if (code != 0) != strings.Contains(args, "a=b") {
			t.Errorf("get %s: exit code %d: %s", args, code, errOut)
		}
		line, _, _ := strings.Cut(out, "\n")
		if got := strings.TrimSpace(gap.ReplaceAllString(line, " ")); got != want {
			t.Errorf("get %s -o wide: %q, want %q", args, got, want)
		}
	}
	has(t, "get all", k.run("get", "all"), "pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-")

	for args, want := range map[string]string{
		"deployment web -o jsonpath={.spec.template.spec.containers[0].image}":                       webImage,
		"deployment web -o jsonpath={range.status.conditions[?(@.type=='Available')]}{.status}{end}": "True",
		"deployment web -o go-template={{.spec.replicas}}":                                           "3",
		"deployment web -o custom-columns=NAME:.metadata.name,IMAGE:..image --no-headers":            "web    " + webImage + "\n",
		"deployments -o name":                                   "deployment.apps/web\n",
		"configmap settings -o yaml":                            "apiVersion: v1\ndata:\n  a: b\nkind: ConfigMap\n",
		"configmap settings -o json":                            "{\n    \"apiVersion\": \"v1\",\n    \"data\": {\n        \"a\": \"b\"\n    },\n    \"kind\": \"ConfigMap\",\n",
		"configmap settings -o kyaml":                           "---\n{\n  apiVersion: \"v1\",\n  data: {\n    a: \"b\",\n  },\n  kind: \"ConfigMap\",\n",
		"-f testdata/web.yaml -o name":                          "deployment.apps/web\n",
		"pods -l app=web --field-selector=status.phase=Pending": "",
		"--raw /api/v1/namespaces/" + k.ns + "/configmaps/none": "",
	} {
		out, errOut, code := k.try(append([]string{"get"}, words(args)...)...)
		if (code != 0) != strings.Contains(args, "none") || !strings.HasPrefix(gaps.ReplaceAllString(out, " "), gaps.ReplaceAllString(want, " ")) {
			t.Errorf("get %s: exit code %d: %q, want %q: %s", args, code, out, want, errOut)
		}
	}
}

func testWatch(t *testing.T, k kubectl) {
	k.run("create", "configmap", "first", "--from-literal=a=b")
	p := k.start("get", "configmaps", "--watch", "--output-watch-events", "-o", `go-template={{.type}} {{.object.metadata.name}} {{.object.data.a}}{{"\n"}}`)
	p.expect("ADDED first b\n")
	k.run("create", "configmap", "second", "--from-literal=a=b")
	p.expect("ADDED second b\n")
	k.run("patch", "configmap", "second", "-p", `{"data":{"a":"c"}}`)
	p.expect("MODIFIED second c\n")
	k.run("delete", "configmap", "second")
	p.expect("DELETED second c\n")
	p.signal(syscall.SIGINT)
	if code := p.wait(); code == 0 {
		t.Errorf("Ctrl-C ended with %d", code)
	}
	// Tables come in watches, too.
	p = k.start("get", "events", "--watch")
	q := k.start("get", "pods", "--watch", "--output-watch-events")
	k.run("run", "plain", "--image="+webImage)
	p.expect("Started")
	q.expect("ADDED")
	q.expect("MODIFIED")
	q.expect("1/1")
	q.expect("Running")
}

package programs

import (
	"strings"
	"testing"
)

// testHelm is the life of a chart with hooks, a kind of its own and a password that the cluster keeps: by the server's apply,
// which is Helm's way now, and by the client's patches, which was its way before.
func testHelm(t *testing.T, c cluster) {
	for name, serverSide := range map[string]string{"server-side": "true", "client-side": "false"} {
		t.Run(name, func(t *testing.T) {
			h := helm{t: t, c: c, program: c.upstream(t, "helm"), ns: c.namespace(t, name)}
			h.installs("--server-side=" + serverSide)
			h.upgrades("--server-side=" + serverSide)
			h.uninstalls()
		})
	}
}

// helm is a command line in a namespace.
type helm struct {
	t           *testing.T
	c           cluster
	program, ns string
}

func (h helm) args(args []string) []string { return append([]string{"-n", h.ns}, args...) }

func (h helm) run(args ...string) string {
	h.t.Helper()
	return h.c.run(h.t, h.program, h.args(args)...)
}

func (h helm) kubectl(args ...string) string {
	h.t.Helper()
	return h.c.run(h.t, h.c.upstream(h.t, "kubectl"), h.args(args)...)
}

const chart = "testdata/shop"

func (h helm) installs(serverSide string) {
	h.t.Helper()
	// The chart's own kind is not there yet when it is only tried.
	h.kubectl("apply", "-f", chart+"/crds")
	has(h.t, "a dry run", h.run("install", "shop", chart, "--dry-run=server", serverSide), "STATUS: pending-install", "kind: Gadget", "price: 2")
	if out := h.kubectl("get", "deployments,secrets", "-o", "name"); out != "" {
		h.t.Errorf("a dry run made %s", out)
	}
	h.kubectl("delete", "-f", chart+"/crds")
	has(h.t, "install", h.run("install", "shop", chart, "--wait", "--timeout=60s", serverSide), "STATUS: deployed", "REVISION: 1")
	has(h.t, "the deployment", h.kubectl("get", "deployment", "shop"), "shop 2/2 2 2")
	has(h.t, "the gadget", h.kubectl("get", "gadget", "shop", "-o", "jsonpath={.spec}"), `{"currency":"EUR","price":2}`)
	for _, hook := range []string{"pre-install", "post-install"} {
		has(h.t, "a hook", h.kubectl("logs", "shop-"+hook), hook)
	}
	has(h.t, "the job that went before", h.kubectl("events", "--for=job/shop-migrate"), "Completed", "Job completed")
	if out := h.kubectl("get", "jobs", "-o", "name"); out != "" {
		h.t.Errorf("hooks that are to go left %s", out)
	}
	has(h.t, "test", h.run("test", "shop", "--logs"), "Phase: Succeeded", "POD LOGS: shop-answers", "v1 shop-")
	has(h.t, "installing twice", h.c.fails(h.t, h.program, h.args([]string{"install", "shop", chart})...), "cannot reuse a name that is still in use")
	has(h.t, "what is not valid", h.c.fails(h.t, h.program, h.args([]string{"install", "bad", chart, "--set=replicas=-1", serverSide})...), "spec.replicas: Invalid value: -1: must be greater than or equal to 0")
	h.run("uninstall", "bad", "--ignore-not-found", "--no-hooks")
}

func (h helm) upgrades(serverSide string) {
	h.t.Helper()
	password := []string{"get", "secret", "shop-login", "-o", "jsonpath={.data.password}"}
	before := h.kubectl(password...)
	has(h.t, "upgrade", h.run("upgrade", "shop", chart, "--set=version=v2,replicas=3", "--wait", "--timeout=60s", serverSide), "STATUS: deployed", "REVISION: 2")
	has(h.t, "the deployment", h.kubectl("get", "deployment", "shop"), "shop 3/3 3 3")
	has(h.t, "test", h.run("test", "shop", "--logs"), "Phase: Succeeded", "v2 shop-")
	if after := h.kubectl(password...); after != before || before == "" {
		h.t.Errorf("the password was %q and is %q", before, after)
	}
	h.run("rollback", "shop", "1", "--wait", "--timeout=60s")
	has(h.t, "the deployment rolled back", h.kubectl("get", "deployment", "shop", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].args}"), `2 ["serve","v1"]`)
	has(h.t, "history", h.run("history", "shop"), "1", "superseded", "Install complete", "Upgrade complete", "Rollback to 1")
	has(h.t, "list", h.run("list"), "shop", h.ns, "deployed shop-1.0.0")
	has(h.t, "status", h.run("status", "shop"), "REVISION: 3", "Phase: Succeeded")
}

func (h helm) uninstalls() {
	h.t.Helper()
	has(h.t, "uninstall", h.run("uninstall", "shop", "--wait", "--timeout=60s"), `release "shop" uninstalled`)
	if out := h.kubectl("get", "deployments,replicasets,services,secrets,poddisruptionbudgets,gadgets", "-o", "name"); strings.TrimSpace(out) != "" {
		h.t.Errorf("uninstall left %s", out)
	}
	has(h.t, "the kind, which stays", h.kubectl("get", "crd", "gadgets.shop.example.test"), "gadgets.shop.example.test")
	h.kubectl("delete", "crd", "gadgets.shop.example.test")
}

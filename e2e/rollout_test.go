package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// TestRollout puts a service before a deployment and changes the deployment in every way under constant requests, none of
// which may fail.
func TestRollout(t *testing.T) {
	l := newLab(t)
	h, outside := l.host(1), l.host(2)
	h.up()
	k := h.upstream()

	k.run("create", "-f", "testdata/web.yaml")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	k.run("expose", "deployment", "web", "--port=80", "--target-port=8080")
	k.run("expose", "deployment", "web", "--name=web-node", "--port=80", "--target-port=8080", "--type=NodePort")
	cluster := "http://" + k.run("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + "/"
	node := "http://" + h.ip + ":" + k.run("get", "service", "web-node", "-o", "jsonpath={.spec.ports[0].nodePort}") + "/"
	for _, url := range []string{cluster, node} {
		has(t, url, h.await(url), "v1 web-")
	}
	outside.fetches(node, "v1 web-")
	pod := k.run("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
	for _, name := range []string{"web", "web.default", "web.default.svc.cluster.local", "web-node"} {
		has(t, name+" from a pod", k.run("exec", pod, "--", "/webapp", "get", "http://"+name+"/"), "v1 web-")
	}
	has(t, "by the API server's proxy", k.run("get", "--raw", "/api/v1/namespaces/default/services/web/proxy/"), "v1 web-")

	steps := []struct {
		name     string
		do       []string
		versions []string // that the clients must have seen
	}{
		{"scale up", words("scale deployment/web --replicas=5"), words("v1")},
		{"scale down", words("scale deployment/web --replicas=3"), words("v1")},
		{"second version", words("set image deployment/web web=" + webImage2), words("v1 v2")},
		{"roll back", words("rollout undo deployment/web"), words("v1 v2")},
		{"restart", words("rollout restart deployment/web"), words("v1")},
	}
	for i, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			k, h, outside := k.on(t), h.on(t), outside.on(t)
			asker := fmt.Sprintf("asker-%d", i)
			loads := map[string]*load{
				"cluster address":            h.load(cluster),
				"node port from outside":     outside.load(node),
				"name of the service, a pod": podLoad(k, asker, "http://web/"),
			}
			before := h.podNames("app=web")
			k.run(s.do...)
			k.run("rollout", "status", "deployment/web", "--timeout=50s")
			// Until the last of the old pods is gone the change is not over.
			if old := without(before, h.podNames("app=web")); len(old) > 0 {
				k.run(append(words("wait --for=delete --timeout=30s"), old...)...)
			}
			allAnswered(t, loads, s.versions...)
		})
	}

	t.Run("history", func(t *testing.T) {
		k := k.on(t)
		k.says(words("rollout history deployment/web"), "REVISION", "CHANGE-CAUSE")
		k.says(words("rollout history deployment/web --revision=2"), webImage2)
		k.says(words("rollout undo deployment/web --to-revision=2 --dry-run=server"), "server dry run")
		k.run("rollout", "pause", "deployment/web")
		has(t, "undo of a paused deployment", k.fails("rollout", "undo", "deployment/web"), "paused")
		k.run("rollout", "resume", "deployment/web")
		has(t, "undo to what there is not", k.fails("rollout", "undo", "deployment/web", "--to-revision=99"), "unable to find specified revision 99")
	})
}

// podNames are the pods that are not being deleted, as kubectl takes them.
func (h *host) podNames(selector string) []string {
	h.t.Helper()
	var names []string
	for _, p := range h.pods(selector) {
		names = append(names, "pod/"+p.name)
	}
	return names
}

// without are the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

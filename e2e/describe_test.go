package e2e

import (
	"fmt"
	"testing"
)

func testDescribe(t *testing.T, k kubectl) {
	k.run("create", "-f", "testdata/web.yaml")
	k.run("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	pod := k.run("get", "pods", "-o", "jsonpath={.items[0].metadata.name}")
	k.says(words("describe deployment web"),
		"Name:                   web", "Selector:               app=web", "Replicas:               3 desired | 3 updated | 3 total | 3 available | 0 unavailable",
		"StrategyType:           RollingUpdate", "0 max unavailable, 1 max surge", "Readiness:     http-get http://:8080/ delay=0s timeout=1s period=1s",
		"Available      True    MinimumReplicasAvailable", "NewReplicaSet:   web-", "ScalingReplicaSet", "deployment-controller")
	k.says([]string{"describe", "pod", pod},
		"Node:             one/"+k.h.ip, "Status:           Running", "Controlled By:  ReplicaSet/web-", "Container ID:  containerd://", "Image:          "+webImage,
		"State:          Running", "Ready:          True", "kube-api-access-", "QoS Class:                   BestEffort", "PodScheduled                True",
		"Scheduled", "default-scheduler", "Successfully assigned "+k.ns+"/"+pod+" to one", "Pulled", "Created", "Started")
	k.says(words("describe service web"), "Type:                     NodePort", "Selector:                 app=web", "TargetPort:               8080/TCP", "NodePort:", "Endpoints:", ":8080,")
	k.says(words("describe node one"), "Roles:", "Ready                True", "KubeletReady", "InternalIP:  "+k.h.ip, "Container Runtime Version:  containerd://", "Kubelet Version:            v1.37",
		"Non-terminated Pods:", pod, "Allocated resources:", "HolderIdentity:  one", "PodCIDR:", "NodeReady")
	k.says(words("describe namespace "+k.ns), "Status:       Active", "No resource quota.")
	k.says(words("describe replicasets,endpointslices,serviceaccounts"), "Controlled By:  Deployment/web", "AddressType:  IPv4", "Name:                default")
	k.says([]string{"events", "--for=pod/" + pod}, "Scheduled", "Pulled", "Started")
	k.says([]string{"get", "events", "--field-selector=involvedObject.name=" + pod + ",reason=Started"}, "pod/"+pod, "Container started")
	has(t, "describe of nothing", k.fails("describe", "pod", "nothing"), `pods "nothing" not found`)
}

func testExplain(t *testing.T, k kubectl) {
	k.says(words("explain pods"), "KIND:       Pod", "VERSION:    v1", "Pod is a collection of containers", "spec\t<PodSpec>")
	k.says(words("explain pods.spec.containers.livenessProbe.httpGet.port"), "FIELD: port <IntOrString>", "Name or number of the port to access on the container")
	k.says(words("explain deployments --recursive"), "GROUP:      apps", "        containers\t<[]Container> -required-", "            livenessProbe\t<Probe>", "                path\t<string>")
	k.says(words("explain hpa.spec --api-version=autoscaling/v1"), "targetCPUUtilizationPercentage")
	k.says(words("explain hpa.spec --api-version=autoscaling/v2"), "metrics\t<[]MetricSpec>")
	k.says(words("explain pods --output=plaintext-openapiv2"), "KIND:     Pod", "VERSION:  v1")
	has(t, "no such field", k.fails("explain", "pods.spec.nothing"), `field "nothing" does not exist`)
	has(t, "no such kind", k.fails("explain", "nothings"), `the server doesn't have a resource type "nothings"`)
}

func testDiscovery(t *testing.T, k kubectl) {
	k.says(words("api-resources --no-headers"), "pods                                po           v1 ", "deployments                         deploy       apps/v1", "componentstatuses                   cs           v1")
	k.says(words("api-resources --api-group=apps --namespaced --verbs=list,watch -o name"), "deployments.apps\n", "statefulsets.apps\n")
	k.says(words("api-versions"), "apps/v1\n", "rbac.authorization.k8s.io/v1\n", "v1\n")
	k.says(words("version"), "Server Version: v1.37")
	k.says(words("cluster-info --namespace=kube-system"), "Kubernetes control plane", "is running at", "KubeDNS")
	k.says(words("get --raw /readyz?verbose"), "[+]etcd ok", "readyz check passed")

	k.says(words("auth can-i create deployments"), "yes")
	k.says(words("auth whoami"), "Username", "system:masters")
	k.says(words("auth can-i --list"), "*.*", "[*]")
	account := "system:serviceaccount:" + k.ns + ":default"
	if out, _, code := k.try("auth", "can-i", "get", "pods", "--as="+account); code != 1 || out != "no\n" {
		t.Errorf("auth can-i without a right: exit code %d, %q", code, out)
	}
	k.run("create", "role", "reader", "--verb=get", "--resource=pods")
	k.run("create", "rolebinding", "reader", "--role=reader", "--serviceaccount="+k.ns+":default")
	k.says([]string{"auth", "can-i", "get", "pods", "--as=" + account}, "yes")
	has(t, "without a right", k.fails("delete", "pod", "x", "--as="+account), `pods "x" is forbidden: User "`+account+`" cannot delete resource "pods" in API group "" in the namespace "`+k.ns+`"`)
	const role = `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "%s"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]}]}`
	has(t, "auth reconcile", k.feed(fmt.Sprintf(role, k.ns), "auth", "reconcile", "-f", "-"), "role.rbac.authorization.k8s.io/reader reconciled")
	k.says([]string{"auth", "can-i", "delete", "pods", "--as=" + account}, "yes")

	// There is no metrics server, and that is what is said.
	has(t, "top nodes", k.fails("top", "nodes"), "Metrics API not available")
	has(t, "top pods", k.fails("top", "pods"), "Metrics API not available")
}

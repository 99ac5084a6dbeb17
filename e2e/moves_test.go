package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// movingEncryption names every algorithm that needs no program beside the server.
const movingEncryption = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{aesgcm: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}}]
- resources: [configmaps]
  providers: [{aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}]
- resources: [limitranges, pandas.bears.test]
  providers: [{secretbox: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}]
`

const movingDefinition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pandas.bears.test}
spec:
  group: bears.test
  scope: Namespaced
  names: {plural: pandas, kind: Panda}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {name: {type: string}}}}}}
`

const movingObjects = `apiVersion: v1
kind: Secret
metadata: {name: NAME}
stringData: {k: of NAME}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {k: of NAME}
---
apiVersion: v1
kind: LimitRange
metadata: {name: NAME}
spec: {limits: [{type: Pod, max: {cpu: "2"}}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec: {replicas: 0, selector: {matchLabels: {a: NAME}}, template: {metadata: {labels: {a: NAME}}, spec: {containers: [{name: c, image: x}]}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {type: NodePort, ports: [{port: 80}]}
---
apiVersion: bears.test/v1
kind: Panda
metadata: {name: NAME}
spec: {name: of NAME}
`

// datastore starts an etcd and makes the certificates of an API server over it, ours or upstream's; it gives upstream's program.
func (h *host) datastore() (theirs string) {
	h.t.Helper()
	theirs = filepath.Join(filepath.Dir(h.bin), "upstream", "kube-apiserver")
	if _, err := os.Stat(theirs); err != nil {
		h.t.Fatalf("scripts/build-upstream kube-apiserver, which make test does first, makes it: %v", err)
	}
	etcd := h.role("etcd", "--data-dir", h.path("etcd"), "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380")
	etcd.expect("the member serves")
	h.run("certs", "init", "--cert-dir", h.path("pki"), "--node-ip", h.ip)
	h.run("certs", "kubeconfig", "--cert-dir", h.path("pki"), "--server", "https://127.0.0.1:6443", "--cert", "admin", "--out", h.path("admin.kubeconfig"))
	return theirs
}

// TestMoves: one datastore, first under upstream's API server, then under ours, then under upstream's again, with values
// encrypted. Each must serve what the other wrote.
func TestMoves(t *testing.T) {
	h := newHost(t)
	theirs := h.datastore()
	flags := h.apiserver("--etcd-servers=http://127.0.0.1:2379", "--encryption-provider-config="+h.write("encryption.yaml", "%s", movingEncryption))
	k := h.upstream()

	serve := func(start func() *process) *process {
		t.Helper()
		p := start()
		h.ready(p)
		return p
	}
	end := func(p *process) {
		t.Helper()
		p.signal(syscall.SIGTERM)
		p.wait()
	}
	upstream := func() *process { return start(t, h.command(theirs, flags...)) }
	ours := func() *process { return h.role("kube-apiserver", flags...) }

	p := serve(upstream)
	k.feed(movingDefinition, "create", "-f", "-")
	k.run("wait", "--for=condition=Established", "crd/pandas.bears.test", "--timeout=30s")
	h.create(k, "theirs")
	end(p)

	p = serve(ours)
	before := h.content(k, "theirs")
	h.create(k, "ours")
	for _, r := range []string{"secret", "configmap", "limitrange", "panda", "deployment"} {
		k.run("annotate", r, "theirs", "touched=yes") // written anew, by the other server
	}
	mine := h.content(k, "ours")
	t.Logf("moved:\n%s%s", before, mine)
	end(p)

	p = serve(upstream)
	if got := h.content(k, "ours"); got != mine {
		t.Errorf("upstream serves\n%s\nof\n%s", got, mine)
	}
	if got := h.content(k, "theirs"); got != before {
		t.Errorf("upstream serves\n%s\nwhere ours served\n%s", got, before)
	}
	end(p)
}

// ready waits until the API server answers.
func (h *host) ready(p *process) {
	h.t.Helper()
	for deadline := time.Now().Add(2 * patience); ; {
		_, stderr, code := h.upstream().try("get", "--raw=/readyz")
		if code == 0 {
			return
		}
		select {
		case <-p.done:
			h.t.Fatalf("%s has ended: %s", p.name, p.said())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s does not become ready: %s", p.name, stderr)
		}
	}
}

func (h *host) create(k kubectl, name string) {
	h.t.Helper()
	k.feed(strings.ReplaceAll(movingObjects, "NAME", name), "create", "-f", "-")
}

// content is what the objects of a name say, in a form that does not depend on who serves it.
func (h *host) content(k kubectl, name string) string {
	h.t.Helper()
	return k.run("get", "secrets,configmaps,limitranges,deployments,hpa,services,pandas", "--field-selector=metadata.name="+name,
		"-o", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.data} {.spec}{"\n"}{end}`)
}

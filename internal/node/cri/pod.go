package cri

import (
	"context"
	"fmt"
	"sort"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubetypes "k8s.io/kubelet/pkg/types"
)

// Pod is what the runtime has of one pod at one moment. It is not changed after it was read.
type Pod struct {
	UID             types.UID
	Namespace, Name string
	Sandboxes       []*rt.PodSandboxStatus // the newest first
	Containers      []*Container           // the newest first
}

// Sandbox is the newest sandbox; nil when there is none.
func (p *Pod) Sandbox() *rt.PodSandboxStatus {
	if p == nil || len(p.Sandboxes) == 0 {
		return nil
	}
	return p.Sandboxes[0]
}

// ReadySandbox is the newest sandbox if it runs, else nil.
func (p *Pod) ReadySandbox() *rt.PodSandboxStatus {
	if s := p.Sandbox(); s != nil && s.State == rt.PodSandboxState_SANDBOX_READY {
		return s
	}
	return nil
}

// Newest is the newest container of a name; nil when there is none.
func (p *Pod) Newest(name string) *Container { return p.nth(name, 0) }

// Previous is the one before the newest; nil when there is none.
func (p *Pod) Previous(name string) *Container { return p.nth(name, 1) }

func (p *Pod) nth(name string, n int) *Container {
	if p == nil {
		return nil
	}
	for _, c := range p.Containers {
		if c.Name == name {
			if n == 0 {
				return c
			}
			n--
		}
	}
	return nil
}

// Running lists the containers whose process runs.
func (p *Pod) Running() []*Container {
	if p == nil {
		return nil
	}
	var out []*Container
	for _, c := range p.Containers {
		if c.Running() || c.State == rt.ContainerState_CONTAINER_UNKNOWN {
			out = append(out, c)
		}
	}
	return out
}

// Empty says that the runtime has nothing of the pod.
func (p *Pod) Empty() bool { return p == nil || len(p.Sandboxes) == 0 && len(p.Containers) == 0 }

// Idle says that nothing of the pod runs: no container and no sandbox.
func (p *Pod) Idle() bool {
	if p == nil {
		return true
	}
	for _, s := range p.Sandboxes {
		if s.State == rt.PodSandboxState_SANDBOX_READY {
			return false
		}
	}
	return len(p.Running()) == 0
}

// Pod reads the state of one pod. A pod that the runtime does not know is an empty Pod.
func (c *Client) Pod(ctx context.Context, uid types.UID) (*Pod, error) {
	sel := map[string]string{kubetypes.KubernetesPodUIDLabel: string(uid)}
	sbs, err := c.Runtime.ListPodSandbox(ctx, &rt.ListPodSandboxRequest{Filter: &rt.PodSandboxFilter{LabelSelector: sel}})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	cs, err := c.Runtime.ListContainers(ctx, &rt.ListContainersRequest{Filter: &rt.ContainerFilter{LabelSelector: sel}})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return c.assemble(ctx, uid, sbs.Items, cs.Containers)
}

// Pods reads the state of every pod that the runtime knows.
func (c *Client) Pods(ctx context.Context) (map[types.UID]*Pod, error) {
	sbs, err := c.Runtime.ListPodSandbox(ctx, &rt.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	cs, err := c.Runtime.ListContainers(ctx, &rt.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	sandboxes, containers := map[types.UID][]*rt.PodSandbox{}, map[types.UID][]*rt.Container{}
	uids := map[types.UID]bool{}
	for _, s := range sbs.Items {
		if uid := podUID(s.Labels); uid != "" {
			sandboxes[uid] = append(sandboxes[uid], s)
			uids[uid] = true
		}
	}
	for _, k := range cs.Containers {
		if uid := podUID(k.Labels); uid != "" {
			containers[uid] = append(containers[uid], k)
			uids[uid] = true
		}
	}
	out := make(map[types.UID]*Pod, len(uids))
	for uid := range uids {
		p, err := c.assemble(ctx, uid, sandboxes[uid], containers[uid])
		if err != nil {
			return nil, err
		}
		out[uid] = p
	}
	return out, nil
}

func (c *Client) assemble(ctx context.Context, uid types.UID, sbs []*rt.PodSandbox, cs []*rt.Container) (*Pod, error) {
	p := &Pod{UID: uid}
	for _, s := range sbs {
		p.Namespace, p.Name = s.GetMetadata().GetNamespace(), s.GetMetadata().GetName()
		st, err := c.Runtime.PodSandboxStatus(ctx, &rt.PodSandboxStatusRequest{PodSandboxId: s.Id})
		if IsNotFound(err) {
			continue // removed since the list was made
		}
		if err != nil {
			return nil, fmt.Errorf("status of sandbox %s: %w", s.Id, err)
		}
		p.Sandboxes = append(p.Sandboxes, st.Status)
	}
	for _, k := range cs {
		if p.Name == "" {
			p.Namespace, p.Name = k.Labels[kubetypes.KubernetesPodNamespaceLabel], k.Labels[kubetypes.KubernetesPodNameLabel]
		}
		st, err := c.containerStatus(ctx, k.Id)
		if IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("status of container %s: %w", k.Id, err)
		}
		p.Containers = append(p.Containers, &Container{
			ContainerStatus: st, SandboxID: k.PodSandboxId,
			Name: k.Labels[kubetypes.KubernetesContainerNameLabel],
		})
	}
	sort.SliceStable(p.Sandboxes, func(i, j int) bool { return p.Sandboxes[i].CreatedAt > p.Sandboxes[j].CreatedAt })
	sort.SliceStable(p.Containers, func(i, j int) bool { return p.Containers[i].CreatedAt > p.Containers[j].CreatedAt })
	return p, nil
}

func (c *Client) containerStatus(ctx context.Context, id string) (*rt.ContainerStatus, error) {
	c.mu.Lock()
	st := c.exited[id]
	c.mu.Unlock()
	if st != nil {
		return st, nil
	}
	resp, err := c.Runtime.ContainerStatus(ctx, &rt.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, err
	}
	if resp.Status == nil {
		return nil, fmt.Errorf("the runtime gave no status")
	}
	if resp.Status.State == rt.ContainerState_CONTAINER_EXITED {
		c.mu.Lock()
		c.exited[id] = resp.Status
		c.mu.Unlock()
	}
	return resp.Status, nil
}

// Forget drops what is remembered of a container that was removed.
func (c *Client) Forget(containerID string) {
	c.mu.Lock()
	delete(c.exited, containerID)
	c.mu.Unlock()
}

// IsNotFound says that the runtime does not know the thing asked for.
func IsNotFound(err error) bool { return status.Code(err) == codes.NotFound }

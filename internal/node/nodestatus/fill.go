package nodestatus

import (
	"context"
	"runtime"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/client"
)

// register creates the node, or takes over the one that is there and brings its labels up to date.
func (m *Manager) register(ctx context.Context) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.cfg.Name, Labels: m.labels(),
		Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}}
	n.Spec.Taints = m.cfg.Taints
	n.Spec.ProviderID = m.cfg.ProviderID
	if err := m.fill(ctx, n); err != nil {
		return err
	}
	if m.cfg.Register {
		got, err := client.Nodes.Create(ctx, m.cfg.Client, n)
		if err == nil {
			m.node, m.reported = got, m.cfg.Now()
			m.log.Info("registered node", "node", m.cfg.Name)
			m.tellReady(&corev1.Node{}, got)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	got, err := client.Nodes.Get(ctx, m.cfg.Client, "", m.cfg.Name)
	if err != nil {
		return err
	}
	if patch := m.missing(got); patch != nil && m.cfg.Register {
		if got, err = client.Nodes.MergePatch(ctx, m.cfg.Client, "", m.cfg.Name, patch); err != nil {
			return err
		}
	}
	m.node = got
	return nil
}

// missing is a patch of the labels that the node should have; nil when it has them.
func (m *Manager) missing(n *corev1.Node) map[string]any {
	labels := map[string]any{}
	for k, v := range m.labels() {
		if n.Labels[k] != v {
			labels[k] = v
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return map[string]any{"metadata": map[string]any{"labels": labels}}
}

func (m *Manager) labels() map[string]string {
	l := map[string]string{
		corev1.LabelHostname: m.cfg.Hostname, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		"beta.kubernetes.io/os": runtime.GOOS, "beta.kubernetes.io/arch": runtime.GOARCH,
	}
	for k, v := range m.cfg.Labels {
		l[k] = v
	}
	return l
}

// fill puts the present state into a node's status.
func (m *Manager) fill(ctx context.Context, n *corev1.Node) error {
	s := &n.Status
	s.Capacity, s.Allocatable = withForeign(m.cfg.Capacity, s.Capacity), withForeign(m.cfg.Allocatable, s.Allocatable)
	s.Addresses = nil
	for _, ip := range m.cfg.IPs {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: m.cfg.Hostname})
	s.DaemonEndpoints.KubeletEndpoint.Port = m.cfg.Port
	s.NodeInfo = m.cfg.Machine.Info
	s.NodeInfo.KubeletVersion = m.cfg.Version
	m.mu.Lock()
	s.NodeInfo.ContainerRuntimeVersion = m.runtime
	s.RuntimeHandlers, s.Features = m.handlers, m.features
	problem := m.runtimeErr
	if problem == nil {
		problem = m.networkErr
	}
	m.mu.Unlock()
	if problem == nil {
		images, err := m.images(ctx)
		if err != nil {
			return err
		}
		s.Images = images
	}
	p, err := m.cfg.Pressure()
	if err != nil {
		return err
	}
	m.setConditions(n, p, problem)
	return nil
}

// withForeign keeps the extended resources that somebody else told of the node.
func withForeign(own, told corev1.ResourceList) corev1.ResourceList {
	out := own.DeepCopy()
	for name, q := range told {
		if _, ours := own[name]; !ours && strings.Contains(string(name), "/") {
			out[name] = q
		}
	}
	return out
}

func (m *Manager) setConditions(n *corev1.Node, p Pressure, problem error) {
	pressure := func(t corev1.NodeConditionType, under bool, reason, has, no string) {
		c := corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficient" + reason, Message: "kubelet has sufficient " + has}
		switch {
		case t == corev1.NodeDiskPressure && !under:
			c.Reason, c.Message = "KubeletHasNoDiskPressure", "kubelet has no disk pressure"
		case under:
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, "KubeletHas"+no, "kubelet has "+has+" pressure"
		}
		m.setCondition(n, c)
	}
	pressure(corev1.NodeMemoryPressure, p.Memory, "Memory", "memory available", "InsufficientMemory")
	pressure(corev1.NodeDiskPressure, p.Disk, "Disk", "disk", "DiskPressure")
	pressure(corev1.NodePIDPressure, p.PID, "PID", "PID available", "InsufficientPID")
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
	if problem != nil {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "KubeletNotReady", problem.Error()
	}
	m.setCondition(n, ready)
}

func (m *Manager) setCondition(n *corev1.Node, c corev1.NodeCondition) {
	now := metav1.NewTime(m.cfg.Now())
	c.LastHeartbeatTime, c.LastTransitionTime = now, now
	for i := range n.Status.Conditions {
		if old := &n.Status.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	n.Status.Conditions = append(n.Status.Conditions, c)
}

// maxNames is how many names of one image the status has.
const maxNames = 5

// images lists what is on the node, the largest first.
func (m *Manager) images(ctx context.Context) ([]corev1.ContainerImage, error) {
	if m.cfg.MaxImages == 0 {
		return nil, nil
	}
	resp, err := m.cfg.CRI.Images.ListImages(ctx, &rt.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	sort.SliceStable(resp.Images, func(i, j int) bool {
		a, b := resp.Images[i], resp.Images[j]
		return a.Size > b.Size || a.Size == b.Size && a.Id < b.Id
	})
	var out []corev1.ContainerImage
	for _, i := range resp.Images {
		if m.cfg.MaxImages > 0 && len(out) == m.cfg.MaxImages {
			break
		}
		names := append(append([]string{}, i.RepoDigests...), i.RepoTags...)
		if len(names) == 0 {
			continue
		}
		out = append(out, corev1.ContainerImage{Names: names[:min(len(names), maxNames)], SizeBytes: int64(i.Size)})
	}
	return out, nil
}

package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/eviction"
	"hyperkube/internal/node/image"
	"hyperkube/internal/node/nodestatus"
	"hyperkube/internal/node/pods"
	"hyperkube/internal/node/server"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/volume"
	"hyperkube/internal/version"
)

// Config of a kubelet. The zero value of a field is upstream's default unless said otherwise.
type Config struct {
	// Client of the API under the node's own identity. nil runs static pods only.
	Client client.Interface
	// Requests of Client, where they are counted.
	Requests *client.RequestStats
	// CRI is the container runtime.
	CRI *cri.Client

	NodeName   string
	Hostname   string   // of the label kubernetes.io/hostname; NodeName if empty
	NodeIPs    []string // the first is the primary
	Labels     map[string]string
	Taints     []corev1.Taint
	ProviderID string
	// NoRegister leaves the Node object to somebody else.
	NoRegister bool

	RootDir          string // /var/lib/kubelet
	PodLogsDir       string // /var/log/pods
	ContainerLogsDir string // links for log collectors; empty makes none
	PodManifestPath  string // directory of static pods; empty has none
	// DefaultPod fills in the API's defaults of a static pod.
	DefaultPod func(*corev1.Pod)

	// Images gets images; by default from registries, with the pods' pull secrets and RootDir/config.json.
	Images pods.Images
	Claims volume.Claims
	// ParallelPulls bounds the images pulled at a time; 0 is no bound.
	ParallelPulls int
	// ImageGC says when unused images go; Runtime and Images are filled in. nil never collects.
	ImageGC *image.CollectorConfig

	// CgroupRoot is the cgroup below which kubepods lies; the top of the tree if empty.
	CgroupRoot string
	// NoPodCgroups leaves cgroups to the runtime (--cgroups-per-qos=false): no limits of pods and no figures of them.
	NoPodCgroups bool
	// NoEnforceAllocatable leaves all pods together without a bound.
	NoEnforceAllocatable bool
	PodPIDs              int64 // of each pod; 0 or less is no bound

	ClusterDNS    []string
	ClusterDomain string
	ResolvConf    string // /etc/resolv.conf

	MaxPods        int64 // 110
	SystemReserved corev1.ResourceList
	KubeReserved   corev1.ResourceList
	EvictionHard   *nodestatus.Thresholds
	// EvictionSoft are thresholds that must have been passed for a time before pods go, with more time to end by themselves.
	EvictionSoft       eviction.Soft
	EvictionHysteresis time.Duration // how long a pressure is told after it was last seen; 5 min

	NoCPUQuota      bool
	CPUQuotaPeriod  time.Duration
	SeccompDefault  bool
	UnsafeSysctls   []string
	MaxRestartDelay time.Duration
	FailSwapOn      bool

	LogMaxSize      int64 // bytes; 10 MiB
	LogMaxFiles     int   // 5
	LogCheck        time.Duration
	LeaseSeconds    int32
	StatusEvery     time.Duration
	MaxImages       int // in the node's status; 50, negative is all
	Version         string
	ConfigForPeople any // shown at /configz

	// Server is the HTTPS API; nil serves none.
	Server *server.Config
	// HealthzAddress is where the local health check listens, as host:port; empty serves none.
	HealthzAddress string
	// ReadOnlyAddress is an unauthenticated part of the API; empty serves none.
	ReadOnlyAddress string
}

func (c *Config) complete() error {
	if c.CRI == nil {
		return errors.New("a kubelet needs a container runtime")
	}
	if c.NodeName == "" {
		return errors.New("a kubelet needs a node name")
	}
	if len(c.NodeIPs) == 0 {
		return errors.New("a kubelet needs an address of the node")
	}
	for _, ip := range c.NodeIPs {
		if net.ParseIP(ip) == nil {
			return fmt.Errorf("node IP %q is not an IP address", ip)
		}
	}
	if err := spec.ValidDNS(c.ClusterDNS); err != nil {
		return err
	}
	str := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	str(&c.Hostname, c.NodeName)
	str(&c.RootDir, "/var/lib/kubelet")
	str(&c.PodLogsDir, "/var/log/pods")
	str(&c.ClusterDomain, "cluster.local")
	str(&c.ResolvConf, "/etc/resolv.conf")
	str(&c.Version, version.Kubernetes)
	num(&c.MaxPods, 110)
	num(&c.LogMaxSize, 10<<20)
	num(&c.LogMaxFiles, 5)
	num(&c.LogCheck, 10*time.Second)
	num(&c.MaxImages, 50)
	if c.EvictionHard == nil {
		t := nodestatus.DefaultThresholds()
		c.EvictionHard = &t
	}
	for _, d := range []string{c.RootDir, c.PodLogsDir, filepath.Join(c.RootDir, "pods")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(c.RootDir, 0o750)
}

func num[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// machine reads what the node has and what of it is for pods.
func (c *Config) machine() (m *nodestatus.Machine, capacity, allocatable corev1.ResourceList, err error) {
	if m, err = nodestatus.ReadMachine(c.RootDir); err != nil {
		return nil, nil, nil, err
	}
	if m.SwapOn() && c.FailSwapOn {
		return nil, nil, nil, errors.New("running with swap on is not supported, please disable swap or set --fail-swap-on flag to false")
	}
	capacity = m.Capacity(c.MaxPods)
	evict := corev1.ResourceList{
		corev1.ResourceMemory:           *resource.NewQuantity(c.EvictionHard.Memory.Of(m.Memory), resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(c.EvictionHard.Disk.Of(m.Storage), resource.BinarySI),
	}
	return m, capacity, nodestatus.Allocatable(capacity, c.SystemReserved, c.KubeReserved, evict), nil
}

// cgroups makes the tree of the pods' cgroups and bounds it to what is not reserved.
func (c *Config) cgroups(capacity corev1.ResourceList) (*cgroup.Manager, error) {
	m, err := cgroup.New(cgroup.Config{Parent: c.CgroupRoot, NoCPUQuota: c.NoCPUQuota, CPUPeriod: c.CPUQuotaPeriod, PodPIDs: c.PodPIDs})
	if err != nil || c.NoEnforceAllocatable {
		return m, err
	}
	left := nodestatus.Allocatable(capacity, c.SystemReserved, c.KubeReserved)
	return m, m.SetAllocatable(left.Cpu().MilliValue(), left.Memory().Value(), 0)
}

// node is what pods need of it.
func (c *Config) node(m *nodestatus.Machine, allocatable corev1.ResourceList) *spec.Node {
	resolv, err := os.ReadFile(c.ResolvConf)
	if err != nil {
		slog.Default().Warn("no resolv.conf of the node", "component", "kubelet", "path", c.ResolvConf, "error", err)
	}
	return &spec.Node{
		Name: c.NodeName, ClusterDomain: c.ClusterDomain, ClusterDNS: c.ClusterDNS,
		Resolv: spec.ParseResolv(string(resolv)), MemoryCapacity: m.Memory, Allocatable: allocatable,
		HugepageSizes: nodestatus.HugepageSizes(m, spec.PageSize), CPUQuota: !c.NoCPUQuota,
		CPUPeriod: c.CPUQuotaPeriod.Microseconds(), SeccompDefault: c.SeccompDefault,
		SeccompDir: filepath.Join(c.RootDir, "seccomp"), SafeSysctls: c.UnsafeSysctls,
	}
}

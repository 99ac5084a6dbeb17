package kubelet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// parse gives the configuration that a command line makes.
func parse(t *testing.T, args ...string) (cfg Config, err error) {
	t.Helper()
	all := settings()
	flags := []cli.Flag{&cli.StringFlag{Name: "config"}}
	for _, s := range all {
		flags = append(flags, s.flag)
	}
	app := &cli.App{Flags: flags, Writer: os.Stderr, ExitErrHandler: func(*cli.Context, error) {}, Action: func(c *cli.Context) error {
		var e error
		cfg, e = fromFlags(c, all)
		return e
	}}
	err = app.RunContext(t.Context(), append([]string{"kubelet"}, args...))
	return cfg, err
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsGoOverTheFile(t *testing.T) {
	f := file(t, "maxPods: 50\nclusterDNS: [10.0.0.10]\ncontainerLogMaxFiles: 3\nauthentication: {anonymous: {enabled: true}}\nnodeStatusReportFrequency: 1m\n")
	cfg, err := parse(t, "--config", f, "--max-pods=60", "--node-ip=192.0.2.1,2001:db8::1", "--node-labels", "a=1,b=2", "--register-with-taints=k=v:NoSchedule",
		"--system-reserved=cpu=100m,memory=1Gi", "--eviction-hard=memory.available<5%", "--root-dir=/x", "--fail-swap-on=false", "--read-only-port=10255")
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Settings
	if s.MaxPods != 60 || s.ClusterDNS[0] != "10.0.0.10" || *s.ContainerLogMaxFiles != 3 || !*s.Authentication.Anonymous.Enabled || s.NodeStatusReportFrequency.Duration != time.Minute {
		t.Errorf("%+v", s)
	}
	if len(cfg.NodeIPs) != 2 || cfg.Labels["b"] != "2" || s.RegisterWithTaints[0] != (corev1.Taint{Key: "k", Value: "v", Effect: "NoSchedule"}) || cfg.CertDir != "/x/pki" || *s.FailSwapOn || s.ReadOnlyPort != 10255 {
		t.Errorf("%+v", cfg)
	}
	if s.Port != 10250 || *s.HealthzPort != 10248 || s.ClusterDomain != "cluster.local" {
		t.Errorf("defaults: %+v", s)
	}
	th, err := evictionHard(&s)
	if err != nil || th.Memory.Of(1000) != 50 || th.Disk.Of(1000) != 0 {
		t.Errorf("%+v %v", th, err)
	}
}

func TestSoftEviction(t *testing.T) {
	cfg, err := parse(t, "--eviction-soft=memory.available<1Gi,nodefs.available<20%", "--eviction-soft-grace-period=memory.available=1m30s,nodefs.available=2m",
		"--eviction-max-pod-grace-period=60", "--eviction-pressure-transition-period=1m")
	if err != nil {
		t.Fatal(err)
	}
	soft, err := softEviction(&cfg.Settings)
	if err != nil || soft.Memory.Of(0) != 1<<30 || soft.Disk.Of(1000) != 200 || soft.MaxGrace != 60 || soft.After[corev1.ResourceMemory] != 90*time.Second {
		t.Errorf("%+v, %v", soft, err)
	}
	for _, bad := range [][]string{
		{"--eviction-soft=memory.available<1Gi"}, {"--eviction-soft=memory.available<x", "--eviction-soft-grace-period=memory.available=1m"},
		{"--eviction-soft=none<1Gi", "--eviction-soft-grace-period=none=1m"}, {"--eviction-soft=memory.available<1Gi", "--eviction-soft-grace-period=memory.available=soon"},
	} {
		cfg, err := parse(t, bad...)
		if err == nil {
			_, err = softEviction(&cfg.Settings)
		}
		if err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--config", file(t, "maxPodz: 1\n")}, "maxPodz"},
		{[]string{"--config", file(t, "maxPods: many\n")}, "maxPods"},
		{[]string{"--config", "/none"}, "/none"},
		{[]string{"--register-with-taints=x"}, "taint"},
		{[]string{"--register-with-taints=x=y:Odd"}, "Odd"},
		{[]string{"--node-labels=x"}, "node-labels"},
		{[]string{"--eviction-hard=x"}, "eviction-hard"},
	} {
		if _, err := parse(t, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want a word of %q", tc.args, err, tc.want)
		}
	}
	cfg := Defaults()
	cfg.Settings.CPUManagerPolicy, cfg.Settings.CgroupDriver = "static", "systemd"
	if err := supported(&cfg.Settings); err == nil || !strings.Contains(err.Error(), "cpuManagerPolicy") || !strings.Contains(err.Error(), "cgroupDriver") {
		t.Errorf("unsupported settings: %v", err)
	}
	if cfg = Defaults(); supported(&cfg.Settings) != nil {
		t.Error("the defaults are not supported")
	}
}

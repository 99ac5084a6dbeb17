package up

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hyperkube/roles/apiserver"
	"hyperkube/roles/controllermanager"
	"hyperkube/roles/kubelet"
	"hyperkube/roles/proxy"
	"hyperkube/roles/scheduler"
)

// passing are the roles that take further flags, each by a flag of its own: --kubelet-arg max-pods=50 gives the kubelet
// --max-pods=50. check reads such flags by themselves.
var passing = []struct {
	role, flag string
	master     bool
	check      func(args []string) error
}{
	{"apiserver", "kube-apiserver-arg", true, func(a []string) error {
		_, err := apiserver.FromArgs(append([]string{"--data-dir=/", "--service-account-issuer=x"}, a...)) // which others need
		return err
	}},
	{"controller-manager", "kube-controller-manager-arg", true, func(a []string) error { _, err := controllermanager.FromArgs(a); return err }},
	{"scheduler", "kube-scheduler-arg", true, func(a []string) error { _, err := scheduler.FromArgs(a); return err }},
	{"kubelet", "kubelet-arg", false, func(a []string) error { _, err := kubelet.FromArgs(a); return err }},
	{"proxy", "kube-proxy-arg", false, func(a []string) error { _, err := proxy.FromArgs(a); return err }},
}

// passed collects the values of a flag as they are: unlike a list's, they may hold commas.
type passed []string

func (p *passed) String() string { return "" }

func (p *passed) Set(v string) error {
	*p = append(*p, "--"+strings.TrimLeft(v, "-"))
	return nil
}

// argFlags are the flags that pass flags on.
func argFlags(master bool) []cli.Flag {
	var out []cli.Flag
	for _, p := range passing {
		if master || !p.master {
			out = append(out, &cli.GenericFlag{Category: "Further flags of roles", Name: p.flag, Value: &passed{},
				Usage: "`FLAG=VALUE` of the " + p.role + ", see `hyperkube " + p.role + " --help`; may be repeated"})
		}
	}
	return out
}

// argsOf collects what is to be passed on.
func argsOf(c *cli.Context) map[string][]string {
	out := map[string][]string{}
	for _, p := range passing {
		if v, ok := c.Generic(p.flag).(*passed); ok && len(*v) > 0 {
			out[p.role] = append(out[p.role], *v...)
		}
	}
	return out
}

// checkArgs finds flags that a role does not know before anything is started.
func (c *Config) checkArgs() error {
	for _, p := range passing {
		if len(c.Args[p.role]) == 0 {
			continue
		}
		if err := p.check(c.Args[p.role]); err != nil {
			return fmt.Errorf("--%s: %w", p.flag, err)
		}
	}
	return nil
}

// args are the flags of a role: those that come with the node, and then those that were passed.
func (c *Config) args(role string, own ...string) []string {
	return append(slices.Clip(own), c.Args[role]...)
}

// Package kubectl is the command line of Kubernetes: the whole of k8s.io/kubectl. Without a
// kubeconfig of its user's it talks to the cluster of this machine.
package kubectl

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	logcli "k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	_ "hyperkube/roles/kubectl/untranslated"
)

// LocalKubeconfig is where a cluster of this machine leaves its administrator's kubeconfig.
const LocalKubeconfig = "/var/lib/hyperkube/admin.kubeconfig"

// Command is `kubectl`: every argument is kubectl's own.
func Command() *cli.Command {
	return &cli.Command{
		Name: "kubectl", Category: "Everyday",
		Usage:           "control a cluster; without a kubeconfig, the one on this machine",
		SkipFlagParsing: true,
		HideHelp:        true,
		Action: func(c *cli.Context) error {
			return Run(append([]string{"kubectl"}, c.Args().Slice()...))
		},
	}
}

// VersionCommand is `version`: what `kubectl version` prints.
func VersionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Category: "Everyday",
		Usage:           "the version of this binary, and of the cluster if it answers, as kubectl prints it",
		SkipFlagParsing: true,
		HideHelp:        true,
		Action: func(c *cli.Context) error {
			return Run(append([]string{"kubectl", "version"}, c.Args().Slice()...))
		},
	}
}

// Run runs kubectl with its arguments, the first of which is its name. Where kubectl fails, it says why in its own words
// and ends the process with its own exit code.
func Run(args []string) error {
	if Kubeconfig() == LocalKubeconfig {
		if err := os.Setenv(clientcmd.RecommendedConfigPathEnvVar, LocalKubeconfig); err != nil {
			return err
		}
	}
	// Ctrl-C is kubectl's own business: most of its commands just end by it.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	logs.GlogSetter(cmd.GetLogVerbosity(args))
	// kubectl's commands, its plugins among them, read os.Args.
	os.Args = args
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithDiscoveryBurst(300).WithDiscoveryQPS(50)
	root := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: cmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     args,
		ConfigFlags:   flags,
		IOStreams:     genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
	})
	root.SetArgs(args[1:])
	if err := logcli.RunNoErrOutput(root); err != nil {
		cmdutil.CheckErr(err)
	}
	return nil
}

// Kubeconfig is the kubeconfig that kubectl takes when it is given none: what its user has, or else that of this machine's
// cluster, if that can be read; empty when there is neither.
func Kubeconfig() string {
	if file := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); file != "" {
		return file
	}
	if home, err := os.UserHomeDir(); err == nil {
		file := filepath.Join(home, ".kube", "config")
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	if f, err := os.Open(LocalKubeconfig); err == nil {
		f.Close()
		return LocalKubeconfig
	}
	return ""
}

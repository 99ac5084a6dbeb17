package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestCommandLines parses every command's flags, which fails for a flag that is there twice, and each category is named.
func TestCommandLines(t *testing.T) {
	seen := map[string]string{}
	var check func(path string, all []*cli.Command)
	check = func(path string, all []*cli.Command) {
		for _, c := range all {
			for _, name := range c.Names() {
				if at := path + name; seen[at] != "" {
					t.Errorf("%s is the name of %s and of %s", at, seen[at], c.Name)
				} else {
					seen[at] = c.Name
				}
			}
			flags := map[string]bool{}
			for _, f := range c.Flags {
				for _, n := range f.Names() {
					if flags[n] {
						t.Errorf("%s%s: the flag --%s is there twice", path, c.Name, n)
					}
					flags[n] = true
				}
			}
			check(path+c.Name+" ", c.Subcommands)
		}
	}
	check("", commands())
	for _, name := range strings.Fields("kube-apiserver kube-scheduler kube-controller-manager kubelet kube-proxy flanneld etcd containerd dns cni kubectl") {
		if seen[name] == "" {
			t.Errorf("there is no role by the name %s", name)
		}
	}
}

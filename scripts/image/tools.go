package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hyperkube/internal/ociarchive"
)

// tools are the files of this machine that roles in a container cannot do without: iptables, by which services and the network of pods are
// made, with the libraries and extensions that it loads, and the authorities of the world's registries.
func tools(binary string) ([]ociarchive.File, error) {
	iptables, err := exec.LookPath("iptables")
	if err != nil {
		return nil, errors.New("iptables is not on this machine, and goes into the image: run scripts/setup")
	}
	c := &collector{seen: map[string]bool{}}
	if c.machine, err = machineOf(binary); err != nil {
		return nil, err
	}
	program, err := filepath.EvalSymlinks(iptables)
	if err != nil {
		return nil, err
	}
	if err := c.program(program); err != nil {
		return nil, err
	}
	if err := c.extensions(); err != nil {
		return nil, err
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		c.files = append(c.files, ociarchive.File{Path: "usr/sbin/" + name, Link: program})
	}
	const authorities = "/etc/ssl/certs/ca-certificates.crt"
	if err := c.file(authorities); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return c.files, nil
}

// libraries are where the linker of Debian and its kin looks, and where others put them.
func libraries() []string {
	triplets, _ := filepath.Glob("/usr/lib/*-linux-gnu") // the pattern is good
	return append(triplets, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

// collector gathers programs with all that they need to run.
type collector struct {
	machine elf.Machine
	seen    map[string]bool
	files   []ociarchive.File
}

func machineOf(path string) (elf.Machine, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	return f.Machine, nil
}

// program adds an executable or a library, the linker that it names, and the libraries that it is linked to.
func (c *collector) program(path string) error {
	if c.seen[path] {
		return nil
	}
	if err := c.file(path); err != nil {
		return err
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if f.Machine != c.machine {
		return fmt.Errorf("%s is for %v, the image for %v: build it on a machine of its own kind", path, f.Machine, c.machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return fmt.Errorf("%s: its linker: %w", path, err)
		}
		if err := c.program(strings.TrimRight(string(name), "\x00")); err != nil {
			return err
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range needed {
		if err := c.library(name); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (c *collector) library(name string) error {
	for _, dir := range libraries() {
		path := filepath.Join(dir, name)
		if m, err := machineOf(path); err == nil && m == c.machine {
			return c.program(path)
		}
	}
	return fmt.Errorf("its library %s is not on this machine", name)
}

// extensions are the matches and targets of rules, which iptables loads by name.
func (c *collector) extensions() error {
	found := false
	for _, dir := range libraries() {
		all, _ := filepath.Glob(filepath.Join(dir, "xtables", "lib*.so"))
		for _, path := range all {
			found = true
			if err := c.program(path); err != nil {
				return err
			}
		}
		if found {
			return nil
		}
	}
	return errors.New("the extensions of iptables are not on this machine")
}

// file adds a file under its own name, with what it is a link to.
func (c *collector) file(path string) error {
	if c.seen[path] {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	c.seen[path] = true
	c.files = append(c.files, ociarchive.File{Path: strings.TrimPrefix(path, "/"), Mode: int64(st.Mode().Perm()), Data: data})
	return nil
}

package images

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// debian loads packages of Debian, without installing them, into a directory that keeps them.
type debian struct{ dir string }

// fetch gives the files of packages and of all that they depend on, in an order that is always the same. To apt nothing is
// installed yet, so that the answer does not depend on what this machine has.
func (d debian) fetch(packages ...string) ([]string, error) {
	files, err := d.try(packages)
	if err == nil {
		return files, nil
	}
	// The lists of a bare machine are empty, or name versions that are gone.
	if _, again := d.apt("update"); again != nil {
		return nil, errors.Join(err, again)
	}
	return d.try(packages)
}

// planned is a line of `apt-get --print-uris`: 'URL' name size, and for some a hash.
var planned = regexp.MustCompile(`(?m)^'[^']+' (\S+\.deb) \d+`)

func (d debian) try(packages []string) ([]string, error) {
	empty, err := os.MkdirTemp("", "hyperkube-apt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(empty)
	for _, dir := range []string{empty, d.dir} {
		if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
			return nil, err
		}
	}
	install := append([]string{"install", "--no-install-recommends"}, packages...)
	plan, err := d.apt(append([]string{"--print-uris", "-o", "Dir::Cache::archives=" + empty}, install...)...)
	if err != nil {
		return nil, err
	}
	if _, err := d.apt(append([]string{"--download-only"}, install...)...); err != nil {
		return nil, err
	}
	var files []string
	for _, m := range planned.FindAllSubmatch(plan, -1) {
		name := string(m[1])
		// No container installs packages.
		if pkg, _, _ := strings.Cut(name, "_"); slices.Contains([]string{"debconf", "dpkg", "tar", "gcc-12-base"}, pkg) {
			continue
		}
		files = append(files, filepath.Join(d.dir, name))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("apt-get plans to load nothing for %s", strings.Join(packages, ", "))
	}
	slices.Sort(files)
	return files, nil
}

func (d debian) apt(args ...string) ([]byte, error) {
	status := filepath.Join(d.dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("apt-get", append([]string{"-q", "-y",
		"-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + d.dir,
		"-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

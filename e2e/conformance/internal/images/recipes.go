package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// Names of the images, as upstream's tests at this version ask for them.
const (
	agnhost     = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
	agnhostPrev = "registry.k8s.io/e2e-test-images/agnhost:2.55"
	busyboxRef  = "registry.k8s.io/e2e-test-images/busybox:1.37.0-2"
	pauseRef    = "registry.k8s.io/pause:3.10.2"
	nginxRef    = "registry.k8s.io/e2e-test-images/nginx:1.27.0-2"
	glibcDNS    = "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.1.1"
	nautilus    = "registry.k8s.io/e2e-test-images/nautilus:1.8"
	kitten      = "registry.k8s.io/e2e-test-images/kitten:1.8"
	nonewprivs  = "registry.k8s.io/e2e-test-images/nonewprivs:1.4"
	sampleAPI   = "registry.k8s.io/e2e-test-images/sample-apiserver:1.29.2"
	etcdRef     = "registry.k8s.io/etcd:3.7.0-0"
)

// kitchen has what images are made of.
type kitchen struct {
	programs string // directory with upstream's programs
	source   string // directory of k8s.io/kubernetes
	apt      debian
	busybox  []byte
	applets  []string // full paths
}

// searchPath is that of all images.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func image(cfg v1.Config, layers ...v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	cfg.Env = append([]string{searchPath}, cfg.Env...)
	file.OS, file.Architecture, file.Config = "linux", arch, cfg
	return mutate.ConfigFile(img, file)
}

// all makes every image.
func (k *kitchen) all() (map[string]v1.Image, error) {
	if err := k.stock(); err != nil {
		return nil, err
	}
	out := map[string]v1.Image{}
	for _, make := range []func(map[string]v1.Image) error{k.agnhosts, k.busyboxes, k.pause, k.nginx, k.glibc, k.servers} {
		if err := make(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stock builds busybox and asks it what it can do.
func (k *kitchen) stock() error {
	program, err := compileBusybox(k.apt.dir)
	if err != nil {
		return err
	}
	if k.busybox, err = os.ReadFile(program); err != nil {
		return err
	}
	list, err := exec.Command(program, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("busybox --list-full: %w", err)
	}
	k.applets = strings.Fields(string(list))
	return nil
}

// users are the accounts and directories that every image has.
func (t *tree) users(passwd, group string) {
	t.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"+passwd))
	t.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"+group))
	t.file("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files dns\n"))
	t.dir("tmp", 0o1777)
	t.dir("var/tmp", 0o1777)
	t.dir("root", 0o700)
	t.dir("home", 0o755)
	t.dir("run", 0o755)
}

func (k *kitchen) program(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(k.programs, name))
}

func (k *kitchen) fromSource(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(k.source, name))
}

// system is a Debian of some packages, completed by busybox.
func (k *kitchen) system(passwd, group string, packages ...string) (v1.Layer, error) {
	files, err := k.apt.fetch(packages...)
	if err != nil {
		return nil, err
	}
	t := debianTree()
	for _, f := range files {
		if err := t.unpack(f); err != nil {
			return nil, err
		}
	}
	t.file("bin/busybox", 0o755, k.busybox)
	for _, a := range k.applets {
		if !t.has(a) {
			t.link(a, "/bin/busybox")
		}
	}
	if t.has("bin/nc.openbsd") {
		t.link("bin/nc", "nc.openbsd") // what the package's script would do
	}
	t.users(passwd, group)
	return t.layer()
}

func (k *kitchen) agnhosts(out map[string]v1.Image) error {
	base, err := k.system("user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n",
		"user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n",
		"bind9-dnsutils", "curl", "netcat-openbsd", "iproute2", "libc-bin")
	if err != nil {
		return err
	}
	t := newTree()
	for name, from := range map[string]string{"localhost.crt": "test/images/agnhost/porter/localhost.crt", "localhost.key": "test/images/agnhost/porter/localhost.key"} {
		data, err := k.fromSource(from)
		if err != nil {
			return err
		}
		t.file(name, 0o644, data)
	}
	program, err := k.program("agnhost")
	if err != nil {
		return err
	}
	t.file("agnhost", 0o755, program)
	t.link("agnhost-2", "agnhost")
	t.dir("uploads", 0o755)
	own, err := t.layer()
	if err != nil {
		return err
	}
	cfg := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, WorkingDir: "/"}
	img, err := image(cfg, base, own)
	if err != nil {
		return err
	}
	out[agnhost] = img
	// Tests tell the two by name and by identity, so that the other has a label of its own.
	cfg.Labels = map[string]string{"version": "2.55"}
	if out[agnhostPrev], err = image(cfg, base, own); err != nil {
		return err
	}
	return k.pictures(out, base, own)
}

// pictures are agnhosts that serve a file.
func (k *kitchen) pictures(out map[string]v1.Image, below ...v1.Layer) error {
	for ref, name := range map[string]string{nautilus: "nautilus", kitten: "kitten"} {
		t := newTree()
		for _, f := range []string{name + ".jpg", "data.json"} {
			data, err := k.fromSource("test/images/" + name + "/html/" + f)
			if err != nil {
				return err
			}
			t.file(f, 0o644, data)
		}
		// A test reads that upstream's image is made of Alpine Linux.
		t.file("etc/os-release", 0o644, []byte("NAME=\"Alpine Linux\"\nID=alpine\nPRETTY_NAME=\"Alpine Linux (a stand-in made of Debian packages)\"\n"))
		own, err := t.layer()
		if err != nil {
			return err
		}
		layers := append(append([]v1.Layer{}, below...), own)
		if out[ref], err = image(v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"test-webserver"}, WorkingDir: "/"}, layers...); err != nil {
			return err
		}
	}
	return nil
}

// busyboxes are busybox alone, and with the program that tries to gain privileges.
func (k *kitchen) busyboxes(out map[string]v1.Image) error {
	t := newTree()
	t.file("bin/busybox", 0o755, k.busybox)
	for _, a := range k.applets {
		t.link("bin/"+filepath.Base(a), "busybox")
	}
	t.file("bin/busybox", 0o755, k.busybox) // the applet busybox links to itself
	t.link("usr/bin/env", "../../bin/env")
	t.users("", "")
	base, err := t.layer()
	if err != nil {
		return err
	}
	if out[busyboxRef], err = image(v1.Config{Cmd: []string{"sh"}}, base); err != nil {
		return err
	}
	program, err := k.program("nnp")
	if err != nil {
		return err
	}
	t = newTree()
	t.file("usr/local/bin/nnp", 0o6755, program)
	own, err := t.layer()
	if err != nil {
		return err
	}
	out[nonewprivs], err = image(v1.Config{Cmd: []string{"nnp"}}, base, own)
	return err
}

// pause is upstream's C source, compiled.
func (k *kitchen) pause(out map[string]v1.Image) error {
	program := filepath.Join(k.apt.dir, "pause")
	cmd := exec.Command("gcc", "-Os", "-Wall", "-Werror", "-static", "-s", "-DVERSION=v3.10.2", "-o", program, filepath.Join(k.source, "build/pause/linux/pause.c"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling pause: %w: %s", err, bytes.TrimSpace(text))
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	t := newTree()
	t.file("pause", 0o755, data)
	layer, err := t.layer()
	if err != nil {
		return err
	}
	out[pauseRef], err = image(v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}, layer)
	return err
}

func (k *kitchen) nginx(out map[string]v1.Image) error {
	files, err := k.apt.fetch("nginx")
	if err != nil {
		return err
	}
	t := debianTree()
	for _, f := range files {
		if err := t.unpack(f); err != nil {
			return err
		}
	}
	t.users("www-data:x:33:33:www-data:/var/www:/bin/false\n", "www-data:x:33:\n")
	t.file("bin/busybox", 0o755, k.busybox)
	for _, a := range k.applets {
		if !t.has(a) {
			t.link(a, "/bin/busybox")
		}
	}
	// What the package's scripts would do, and logs to the container's output as upstream's image has them.
	t.link("etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default")
	t.link("var/log/nginx/access.log", "/dev/stdout")
	t.link("var/log/nginx/error.log", "/dev/stderr")
	layer, err := t.layer()
	if err != nil {
		return err
	}
	out[nginxRef], err = image(v1.Config{Entrypoint: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT"}, layer)
	return err
}

func (k *kitchen) glibc(out map[string]v1.Image) error {
	layer, err := k.system("", "", "bind9-dnsutils", "coreutils", "dash", "libc-bin", "hostname")
	if err != nil {
		return err
	}
	out[glibcDNS], err = image(v1.Config{Cmd: []string{"sh"}}, layer)
	return err
}

// servers are programs alone.
func (k *kitchen) servers(out map[string]v1.Image) error {
	for ref, p := range map[string]struct{ program, path string }{
		sampleAPI: {"sample-apiserver", "sample-apiserver"},
		etcdRef:   {"etcd", "usr/local/bin/etcd"},
	} {
		data, err := k.program(p.program)
		if err != nil {
			return err
		}
		t := newTree()
		t.file(p.path, 0o755, data)
		t.users("", "")
		layer, err := t.layer()
		if err != nil {
			return err
		}
		cfg := v1.Config{Entrypoint: []string{"/" + p.path}}
		if ref == etcdRef {
			cfg = v1.Config{Cmd: []string{"/" + p.path}}
		}
		if out[ref], err = image(cfg, layer); err != nil {
			return err
		}
	}
	return nil
}

package volume

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/node/downward"
	"hyperkube/internal/testenv"
)

func TestWriteAtomically(t *testing.T) {
	dir := t.TempDir()
	none := func(string) error { return nil }
	write := func(p map[string]file) bool {
		t.Helper()
		changed, err := writeAtomically(dir, p, none)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	f := func(s string, m fs.FileMode) file { return file{data: []byte(s), mode: m} }
	if !write(map[string]file{"a": f("1", 0o400), "d/e/b": f("2", 0o777)}) {
		t.Error("the first write changed nothing")
	}
	info, err := os.Stat(filepath.Join(dir, "d/e/b"))
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("mode of d/e/b: %v, %v", info, err)
	}
	first, _ := os.Readlink(filepath.Join(dir, dataLink))
	if write(map[string]file{"a": f("1", 0o400), "d/e/b": f("2", 0o777)}) {
		t.Error("writing the same again changed something")
	}
	if !write(map[string]file{"a": f("new", 0o400), "c": f("3", 0o644)}) {
		t.Error("new content changed nothing")
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(data) != "new" {
		t.Errorf("a: %q, %v", data, err)
	}
	for _, gone := range []string{"d", first} {
		if _, err := os.Lstat(filepath.Join(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	for _, bad := range []string{"../x", "/abs", "..x", "a/../../b", ""} {
		if _, err := writeAtomically(dir, map[string]file{bad: f("", 0o644)}, none); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

func TestOpenBeneath(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for link, to := range map[string]string{"in": "sub/dir", "out": outside, "up": "../..", "abs": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "sub/dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, ok := range map[string]bool{
		"sub/dir": true, "in": true, "new/made/here": true, "in/made": true,
		"out": false, "up": false, "abs/passwd": false, "out/x": false, "up/new": false, "/etc": false, "../x": false,
	} {
		fd, err := openBeneath(root, path)
		if (err == nil) != ok {
			t.Errorf("%s: %v, want ok=%v", path, err, ok)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("something was made outside of the volume: %v", entries)
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path string
		typ  corev1.HostPathType
		ok   bool
	}{
		{"f", corev1.HostPathFile, true}, {"f", corev1.HostPathDirectory, false}, {"no", corev1.HostPathDirectory, false},
		{"no", corev1.HostPathUnset, true}, {"made", corev1.HostPathDirectoryOrCreate, true}, {"made", corev1.HostPathDirectory, true},
		{"g", corev1.HostPathFileOrCreate, true}, {"made", corev1.HostPathFileOrCreate, false}, {"f", corev1.HostPathSocket, false}, {"f", "odd", false},
	} {
		err := checkHostPath(&corev1.HostPathVolumeSource{Path: filepath.Join(dir, tc.path), Type: &tc.typ})
		if (err == nil) != tc.ok {
			t.Errorf("%s as %q: %v", tc.path, tc.typ, err)
		}
	}
}

type objects struct{ cm *corev1.ConfigMap }

func (o objects) ConfigMap(_, n string) (*corev1.ConfigMap, error) {
	if o.cm != nil && o.cm.Name == n {
		return o.cm, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, n)
}
func (o objects) Secret(_, n string) (*corev1.Secret, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, n)
}

type tokens struct {
	n   int
	now func() time.Time
}

func (k *tokens) Token(_ context.Context, _ *corev1.Pod, _ string, s int64) (Token, error) {
	k.n++
	now := k.now()
	return Token{Value: strings.Repeat("t", k.n), Issued: now, Expires: now.Add(time.Duration(s) * time.Second)}, nil
}

func TestSetupAndTeardown(t *testing.T) {
	testenv.NeedRoot(t)
	now := time.Unix(1000000, 0)
	clock := func() time.Time { return now }
	tok := &tokens{now: clock}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm"}, Data: map[string]string{"k": "v"}, BinaryData: map[string][]byte{"b": {0, 1}}}
	objs := &objects{cm: cm}
	m := New(Config{RootDir: t.TempDir(), Objects: objs, Tokens: tok, Now: clock,
		Facts: func(*corev1.Pod) downward.Facts { return downward.Facts{} }})
	gid, yes, m400 := int64(1234), true, int32(0o400)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "uid-1", Labels: map[string]string{"l": "1"}}}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &gid}
	local := corev1.LocalObjectReference{Name: "cm"}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local, DefaultMode: &m400}}},
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local, Items: []corev1.KeyToPath{{Key: "k", Path: "x/y"}}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "no"}, Optional: &yes}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
		{Name: "unused", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "missing"}}},
	}
	c := corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{
		{Name: "e", MountPath: "/e", SubPathExpr: "$(WHERE)/deep"}, {Name: "mem", MountPath: "/mem"}, {Name: "cm", MountPath: "/cm", SubPath: "k"}, {Name: "all", MountPath: "/all"}}}
	pod.Spec.Containers = []corev1.Container{c}
	t.Cleanup(func() { _ = unmountBelow(m.PodDir(pod.UID)) })
	setup := func() {
		t.Helper()
		if err := m.Setup(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	setup()
	check := func(volume, file, content string, mode fs.FileMode) {
		t.Helper()
		p, _ := m.Path(pod.UID, volume)
		data, err := os.ReadFile(filepath.Join(p, file))
		if err != nil || string(data) != content {
			t.Errorf("%s/%s: %q, %v", volume, file, data, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(p, file), &st); err != nil || fs.FileMode(st.Mode&0o777) != mode || st.Gid != uint32(gid) {
			t.Errorf("%s/%s: mode %o gid %d, %v", volume, file, st.Mode, st.Gid, err)
		}
	}
	check("cm", "k", "v", 0o440)
	check("all", "token", "t", 0o640)
	check("all", "x/y", "v", 0o644)
	check("all", "labels", `l="1"`, 0o644)
	mounts, err := m.Mounts(pod, &c, map[string]string{"WHERE": "here"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(mounts[2].HostPath); err != nil || string(data) != "v" {
		t.Errorf("subPath of the config map: %q, %v", data, err)
	}
	if !mounts[2].Readonly || mounts[0].Readonly {
		t.Error("a config map must be read-only, an emptyDir not")
	}
	if _, err := m.Mounts(pod, &c, nil, nil); err == nil {
		t.Error("subPathExpr with an unknown variable was accepted")
	}
	if _, err := m.Mounts(pod, &c, map[string]string{"WHERE": "/abs"}, nil); err == nil {
		t.Error("an absolute subPathExpr was accepted")
	}

	// Updates: labels, the config map and, at 80 % of its life, the token.
	pod.Labels["l"] = "2"
	cm2 := cm.DeepCopy()
	cm2.Data["k"] = "w"
	objs.cm = cm2
	setup()
	check("all", "labels", `l="2"`, 0o644)
	check("cm", "k", "w", 0o440)
	check("all", "token", "t", 0o640)
	if at := m.NextRefresh(pod.UID); at.Sub(now) != 48*time.Minute {
		t.Errorf("token to be replaced after %v", at.Sub(now))
	}
	now = now.Add(48 * time.Minute)
	setup()
	check("all", "token", "tt", 0o640)
	if err := m.Teardown(t.Context(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if uids, _ := m.Pods(); len(uids) != 0 {
		t.Errorf("left over: %v", uids)
	}
	if points, _ := mountsBelow(m.PodDir(pod.UID)); len(points) != 0 {
		t.Errorf("left mounted: %v", points)
	}
}

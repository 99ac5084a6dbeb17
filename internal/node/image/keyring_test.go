package image

import (
	"encoding/base64"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func secret(kind corev1.SecretType, key, text string) *corev1.Secret {
	s := &corev1.Secret{Type: kind, Data: map[string][]byte{key: []byte(text)}}
	s.Namespace, s.Name = "n", "s"
	return s
}

func TestLookup(t *testing.T) {
	k := &Keyring{}
	auth := base64.StdEncoding.EncodeToString([]byte("encoded:pass:word"))
	for _, s := range []*corev1.Secret{
		secret(corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, fmt.Sprintf(`{"auths": {
			"https://index.docker.io/v1/": {"username": "hub", "password": "p"},
			"registry.example.com": {"auth": %q},
			"registry.example.com/team": {"username": "team", "password": "p"},
			"*.glob.example.com": {"username": "glob", "password": "p"},
			"ported.example.com:5000": {"username": "port", "password": "p"}}}`, auth)),
		secret(corev1.SecretTypeDockercfg, corev1.DockerConfigKey, `{"https://old.example.com/v2/path": {"username": "old", "password": "p"}}`),
		secret(corev1.SecretTypeOpaque, "x", "not a login"),
	} {
		if err := k.AddSecret(s); err != nil {
			t.Fatal(err)
		}
	}
	for image, want := range map[string][]string{
		"docker.io/library/busybox:latest":         {"hub"},
		"registry.example.com/a:1":                 {"encoded"},
		"registry.example.com/team/a:1":            {"team", "encoded"},
		"a.glob.example.com/x:1":                   {"glob"},
		"a.b.glob.example.com/x:1":                 nil,
		"ported.example.com:5000/x:1":              {"port"},
		"ported.example.com/x:1":                   nil,
		"old.example.com/path/x@sha256:00":         {"old"},
		"old.example.com/other/x":                  nil,
		"registry.example.com.evil.example.net/x:": nil,
	} {
		var got []string
		for _, a := range k.Lookup(image) {
			got = append(got, a.Username)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: logins %v, want %v", image, got, want)
		}
	}
	if a := k.Lookup("registry.example.com/a:1")[0]; a.Password != "pass:word" {
		t.Errorf("password %q", a.Password)
	}
}

func TestBadSecrets(t *testing.T) {
	for _, text := range []string{"", "{", `{"auths": []}`, `{"auths": {"a": {"auth": "!!"}}}`, `{"auths": {"a": {"auth": "bm9jb2xvbg=="}}}`} {
		if err := new(Keyring).AddSecret(secret(corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, text)); err == nil {
			t.Errorf("%q gave no error", text)
		}
	}
}

func TestNames(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for in, want := range map[string][2]string{
		"busybox":             {"busybox:latest", "docker.io/library/busybox:latest"},
		"foo:non-existent":    {"foo:non-existent", "docker.io/library/foo:non-existent"},
		"localhost:5000/a/b":  {"localhost:5000/a/b:latest", "localhost:5000/a/b:latest"},
		"registry.k8s.io/p:1": {"registry.k8s.io/p:1", "registry.k8s.io/p:1"},
		"a" + digest:          {"a" + digest, "docker.io/library/a" + digest},
	} {
		tagged, err := WithTag(in)
		full, err2 := FullName(in)
		if err != nil || err2 != nil || tagged != want[0] || full != want[1] {
			t.Errorf("%s: %s, %s, %v, %v; want %v", in, tagged, full, err, err2, want)
		}
	}
	for _, bad := range []string{"", "example.test/UPPER", "a b", "http://x/y:z:z"} {
		if got, err := WithTag(bad); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

package image

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Keyring holds registry credentials and finds those for an image.
type Keyring struct{ entries []entry }

type entry struct {
	pattern string // host[:port][/path], each label of the host may be a glob
	auth    *rt.AuthConfig
}

// login is one entry of a docker configuration.
type login struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// AddSecret takes the credentials of a secret of type kubernetes.io/dockerconfigjson or
// kubernetes.io/dockercfg. Other types are ignored. No error tells what the secret holds.
func (k *Keyring) AddSecret(s *corev1.Secret) error {
	var err error
	switch s.Type {
	case corev1.SecretTypeDockerConfigJson:
		err = k.AddConfigJSON(s.Data[corev1.DockerConfigJsonKey])
	case corev1.SecretTypeDockercfg:
		err = k.addLogins(s.Data[corev1.DockerConfigKey])
	}
	if err != nil {
		return fmt.Errorf("image pull secret %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

// AddConfigJSON takes the credentials of docker's config.json.
func (k *Keyring) AddConfigJSON(data []byte) error {
	var c struct {
		Auths json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return errors.New("it is not a docker configuration in JSON")
	}
	if len(c.Auths) == 0 {
		return nil
	}
	return k.addLogins(c.Auths)
}

func (k *Keyring) addLogins(data []byte) error {
	var logins map[string]login
	if err := json.Unmarshal(data, &logins); err != nil {
		return errors.New("its registries are not an object of logins in JSON")
	}
	for registry, l := range logins {
		auth, err := l.config()
		if err != nil {
			return fmt.Errorf("login for registry %s: %w", registry, err)
		}
		k.entries = append(k.entries, entry{pattern(registry), auth})
	}
	// The longest pattern first: docker's configurations are sets, and a path is more specific than its host.
	slices.SortStableFunc(k.entries, func(a, b entry) int { return cmp.Compare(b.pattern, a.pattern) })
	return nil
}

func (l login) config() (*rt.AuthConfig, error) {
	c := &rt.AuthConfig{Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken}
	if l.Auth == "" {
		return c, nil
	}
	text, err := base64.StdEncoding.DecodeString(l.Auth)
	if err != nil {
		if text, err = base64.RawStdEncoding.DecodeString(l.Auth); err != nil {
			return nil, errors.New(`"auth" is not base64`)
		}
	}
	user, password, ok := strings.Cut(string(text), ":")
	if !ok {
		return nil, errors.New(`"auth" is not of the form user:password`)
	}
	c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	return c, nil
}

// pattern takes from a registry's name what does not matter: the scheme and the API's version, as in
// https://index.docker.io/v1/.
func pattern(registry string) string {
	_, rest, ok := strings.Cut(registry, "://")
	if !ok {
		rest = registry
	}
	host, p, _ := strings.Cut(rest, "/")
	for _, version := range []string{"v1", "v2"} {
		if p == version || strings.HasPrefix(p, version+"/") {
			p = strings.TrimPrefix(p, version)
		}
	}
	if p = strings.Trim(p, "/"); p == "" {
		return host
	}
	return host + "/" + p
}

// dockerHub is the name that its logins are kept under, while its images begin with docker.io.
const dockerHub = "index.docker.io"

// Lookup finds the credentials for a full image name, the most specific first.
func (k *Keyring) Lookup(image string) []*rt.AuthConfig {
	var found []*rt.AuthConfig
	for _, e := range k.entries {
		if matches(e.pattern, image) {
			found = append(found, e.auth)
		}
	}
	if len(found) == 0 && strings.HasPrefix(image, "docker.io/") {
		for _, e := range k.entries {
			if e.pattern == dockerHub {
				found = append(found, e.auth)
			}
		}
	}
	return found
}

// matches compares hosts label by label with globs, ports exactly, and paths as prefixes.
func matches(pattern, image string) bool {
	host, rest, _ := strings.Cut(pattern, "/")
	imageHost, imageRest, _ := strings.Cut(image, "/")
	name, port := splitPort(host)
	imageName, imagePort := splitPort(imageHost)
	if port != imagePort || !strings.HasPrefix(imageRest, rest) {
		return false
	}
	globs, labels := strings.Split(name, "."), strings.Split(imageName, ".")
	if len(globs) != len(labels) {
		return false
	}
	for i, g := range globs {
		if ok, err := path.Match(g, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func splitPort(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return name, port
	}
	return host, ""
}

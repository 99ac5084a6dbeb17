package pki

import (
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Credentials are what a kubeconfig gives its user: a client certificate or a bearer token.
type Credentials struct {
	User              string // the name of the entry; the API server takes the name from the credential
	CertPEM, KeyPEM   []byte
	CertFile, KeyFile string // files in place of embedded data, for certificates that are renewed on disk
	Token             string
}

// Kubeconfig writes a kubeconfig with mode 0600, everything embedded. server is the URL of the API server.
func Kubeconfig(path, server string, caPEM, certPEM, keyPEM []byte, user string) error {
	return WriteKubeconfig(path, server, caPEM, Credentials{User: user, CertPEM: certPEM, KeyPEM: keyPEM})
}

// WriteKubeconfig is [Kubeconfig] for any kind of credentials. The file stays untouched when it
// says the same already.
func WriteKubeconfig(path, server string, caPEM []byte, c Credentials) error {
	data, err := EncodeKubeconfig(server, caPEM, c)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	if err := WriteFile(path, data, 0o600, false); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

// EncodeKubeconfig gives the YAML of a kubeconfig with one cluster, "kubernetes", and one context.
func EncodeKubeconfig(server string, caPEM []byte, c Credentials) ([]byte, error) {
	if server == "" || c.User == "" {
		return nil, errors.New("a kubeconfig needs the URL of a server and the name of a user")
	}
	const cluster = "kubernetes"
	context := c.User + "@" + cluster
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[cluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	cfg.AuthInfos[c.User] = &clientcmdapi.AuthInfo{
		ClientCertificateData: c.CertPEM, ClientKeyData: c.KeyPEM,
		ClientCertificate: c.CertFile, ClientKey: c.KeyFile,
		Token: c.Token,
	}
	cfg.Contexts[context] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: c.User}
	cfg.CurrentContext = context
	return clientcmd.Write(*cfg)
}

// Kubeconf is what a kubeconfig says of the server in its current context.
type Kubeconf struct {
	Server string
	CA     []byte
}

// LoadKubeconfig reads a kubeconfig with one cluster, as this package writes it.
func LoadKubeconfig(path string) (Kubeconf, error) {
	cfg, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return Kubeconf{}, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	ctx := cfg.Contexts[cfg.CurrentContext]
	if ctx == nil || cfg.Clusters[ctx.Cluster] == nil {
		return Kubeconf{}, fmt.Errorf("kubeconfig %s has no current context", path)
	}
	c := cfg.Clusters[ctx.Cluster]
	return Kubeconf{Server: c.Server, CA: c.CertificateAuthorityData}, nil
}

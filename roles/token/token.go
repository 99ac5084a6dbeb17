// Package token makes, lists and removes bootstrap tokens, by which machines join a cluster.
package token

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"

	"hyperkube/internal/client"
	"hyperkube/internal/cluster"
	"hyperkube/internal/pki"
	"hyperkube/internal/tokens"
)

// DefaultTTL is how long a token lasts that was made without --ttl.
const DefaultTTL = 24 * time.Hour

// Command is `token`.
func Command() *cli.Command {
	where := []cli.Flag{
		&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"KUBECONFIG"}, Usage: "`FILE` that tells how to reach the cluster; the local cluster's by default"},
		&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` of the local cluster"},
	}
	return &cli.Command{
		Name: "token", Category: "Everyday",
		Usage: "make, list or remove tokens by which machines join the cluster",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "make a token and print the command that joins with it",
				Flags: append([]cli.Flag{
					&cli.DurationFlag{Name: "ttl", Value: DefaultTTL, Usage: "`TIME` after which the token ends; 0 for never"},
					&cli.StringFlag{Name: "description", Usage: "`TEXT` that says what it is for"},
				}, where...),
				Action: create,
			},
			{Name: "list", Usage: "show the tokens without their secrets", Flags: where, Action: list},
			{Name: "delete", Usage: "remove tokens", ArgsUsage: "ID…", Flags: where, Action: remove},
		},
	}
}

// connect reaches the cluster as its administrator.
func connect(c *cli.Context) (client.Interface, *rest.Config, error) {
	file := c.String("kubeconfig")
	if file == "" {
		l, err := cluster.NewLayout(c.String("data-dir"), "")
		if err != nil {
			return nil, nil, err
		}
		file = l.AdminKubeconfig()
	}
	cfg, err := client.FromKubeconfig(file)
	if err != nil {
		return nil, nil, err
	}
	api, err := client.NewREST(cfg)
	return api, cfg, err
}

func create(c *cli.Context) error {
	api, cfg, err := connect(c)
	if err != nil {
		return err
	}
	t, err := Create(c.Context, api, c.Duration("ttl"), c.String("description"))
	if err != nil {
		return err
	}
	command, err := joinCommand(cfg, address(c.Context, api, cfg.Host), t)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, command)
	return err
}

// Create stores a new token.
func Create(ctx context.Context, api client.Interface, ttl time.Duration, description string) (tokens.Bootstrap, error) {
	t, err := tokens.NewBootstrap()
	if err != nil {
		return t, err
	}
	data := map[string]string{
		bootstrapapi.BootstrapTokenIDKey:               t.ID,
		bootstrapapi.BootstrapTokenSecretKey:           t.Secret,
		bootstrapapi.BootstrapTokenUsageAuthentication: "true",
		bootstrapapi.BootstrapTokenUsageSigningKey:     "true",
	}
	if ttl > 0 {
		data[bootstrapapi.BootstrapTokenExpirationKey] = time.Now().UTC().Add(ttl).Format(time.RFC3339)
	}
	if description != "" {
		data[bootstrapapi.BootstrapTokenDescriptionKey] = description
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: t.SecretName()},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		StringData: data,
	}
	_, err = client.Secrets.Create(ctx, api, s)
	return t, err
}

// address is the API server's as other machines see it: the one that the cluster publishes, where this one is the machine's
// own.
func address(ctx context.Context, api client.Interface, used string) string {
	u, err := url.Parse(used)
	if err != nil || u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") {
		return used
	}
	m, err := client.ConfigMaps.Get(ctx, api, metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo)
	if err == nil {
		if info, err := clientcmd.Load([]byte(m.Data[bootstrapapi.KubeConfigKey])); err == nil {
			for _, c := range info.Clusters {
				return c.Server
			}
		}
	}
	u.Host = strings.Replace(u.Host, u.Hostname(), "<ADDRESS OF THIS MACHINE>", 1)
	return u.Scheme + "://" + u.Host
}

// joinCommand is what to type on the machine that is to join.
func joinCommand(cfg *rest.Config, server string, t tokens.Bootstrap) (string, error) {
	text := fmt.Sprintf("hyperkube join %s --token %s", server, t)
	ca := cfg.CAData
	if len(ca) == 0 && cfg.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return "", err
		}
	}
	certs, err := pki.ParseCerts(ca)
	if err != nil || len(certs) == 0 {
		return text, err
	}
	return text + " --ca-cert-hash " + pki.CertHash(certs[0]), nil
}

func list(c *cli.Context) error {
	api, _, err := connect(c)
	if err != nil {
		return err
	}
	all, _, err := client.Secrets.List(c.Context, api, metav1.NamespaceSystem, metav1.ListOptions{FieldSelector: "type=" + string(bootstrapapi.SecretTypeBootstrapToken)})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *corev1.Secret) int { return cmp.Compare(a.Name, b.Name) })
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tEXPIRES\tDESCRIPTION")
	for _, s := range all {
		expires := string(s.Data[bootstrapapi.BootstrapTokenExpirationKey])
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Data[bootstrapapi.BootstrapTokenIDKey], cmp.Or(expires, "never"), s.Data[bootstrapapi.BootstrapTokenDescriptionKey])
	}
	return w.Flush()
}

func remove(c *cli.Context) error {
	if c.NArg() == 0 {
		return fmt.Errorf("token delete: which? Give one or more IDs from `token list`")
	}
	api, _, err := connect(c)
	if err != nil {
		return err
	}
	for _, id := range c.Args().Slice() {
		id, _, _ = strings.Cut(id, ".") // a whole token will do
		if !tokens.ValidBootstrapID(id) {
			return fmt.Errorf("token delete: %q is not the ID of a token", id)
		}
		if err := client.Secrets.Delete(c.Context, api, metav1.NamespaceSystem, (tokens.Bootstrap{ID: id}).SecretName()); err != nil {
			return err
		}
	}
	return nil
}

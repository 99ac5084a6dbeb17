package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hyperkube/internal/client"
	"hyperkube/internal/server/apitest"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/authn"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/encryption"
	"hyperkube/internal/server/tracing"
)

// TestExamples: what users copy must be accepted as it is, but for the words that stand for their own.
func TestExamples(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(kubeconfig, "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n")
	checks := map[string]func(string) error{
		"audit-policy.yaml": func(f string) error {
			_, err := audit.New(audit.Config{PolicyFile: f})
			return err
		},
		"encryption.yaml": func(f string) error {
			_, err := encryption.New(t.Context(), encryption.Config{File: f})
			return err
		},
		"encryption-kms.yaml": func(f string) error {
			_, err := encryption.New(t.Context(), encryption.Config{File: f}) // the plugin may come later
			return err
		},
		"authentication.yaml": func(f string) error {
			_, err := authn.New(authn.Config{ConfigFile: f})
			return err
		},
		"tracing.yaml": func(f string) error {
			_, err := tracing.Load(f)
			return err
		},
		"authorization.yaml": func(f string) error {
			api := apitest.New(nil)
			_, err := authz.New(authz.Config{ConfigFile: f, API: api, Informers: client.NewInformers(api)})
			return err
		},
	}
	files, err := os.ReadDir("examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join("examples", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, f.Name())
		write(path, strings.NewReplacer("secret: KEY", "secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "KUBECONFIG", kubeconfig).Replace(string(data)))
		check := checks[f.Name()]
		if check == nil {
			t.Errorf("examples/%s is not checked", f.Name())
			continue
		}
		if err := check(path); err != nil {
			t.Errorf("examples/%s: %v", f.Name(), err)
		}
	}
}

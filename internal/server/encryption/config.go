package encryption

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"

	"hyperkube/internal/config"
)

// load reads the file and makes the providers. It asks no plugin.
func (s *Set) load() (*rules, error) {
	fail := func(err error) (*rules, error) {
		return nil, fmt.Errorf("--encryption-provider-config: %w", err)
	}
	data, err := os.ReadFile(s.cfg.File)
	if err != nil {
		return fail(err)
	}
	var doc apiserverv1.EncryptionConfiguration
	if err := config.LoadKind(s.cfg.File, apiserverv1.SchemeGroupVersion.WithKind("EncryptionConfiguration"), &doc); err != nil {
		return fail(err)
	}
	for i := range doc.Resources {
		for j := range doc.Resources[i].Providers {
			if k := doc.Resources[i].Providers[j].KMS; k != nil {
				apiserverv1.SetDefaults_KMSConfiguration(k)
			}
		}
	}
	var in apiserver.EncryptionConfiguration
	if err := apiserverv1.Convert_v1_EncryptionConfiguration_To_apiserver_EncryptionConfiguration(&doc, &in, nil); err != nil {
		return fail(err)
	}
	errs := validation.ValidateEncryptionConfiguration(&in, s.cfg.Reload)
	if len(errs) == 0 {
		errs = onlyV2(&in)
	}
	if len(errs) > 0 {
		return fail(fmt.Errorf("configuration file %s: %w", s.cfg.File, errs.ToAggregate()))
	}
	r := &rules{digest: sha256.Sum256(data)}
	for _, l := range in.Resources {
		made := list{resources: l.Resources}
		for _, p := range l.Providers {
			one, err := s.provider(&p, r)
			if err != nil {
				r.close()
				return fail(fmt.Errorf("configuration file %s: %w", s.cfg.File, err))
			}
			made.providers = append(made.providers, one)
		}
		r.lists = append(r.lists, made)
	}
	return r, nil
}

// onlyV2 refuses the first version of the protocol, which upstream has switched off.
func onlyV2(c *apiserver.EncryptionConfiguration) field.ErrorList {
	var errs field.ErrorList
	for i, l := range c.Resources {
		for j, p := range l.Providers {
			if p.KMS != nil && p.KMS.APIVersion != "v2" {
				path := field.NewPath("resources").Index(i).Child("providers").Index(j).Child("kms", "apiVersion")
				errs = append(errs, field.NotSupported(path, p.KMS.APIVersion, []string{"v2"}))
			}
		}
	}
	return errs
}

func (s *Set) provider(p *apiserver.ProviderConfiguration, r *rules) (provider, error) {
	switch {
	case p.AESGCM != nil:
		return newKeyed("k8s:enc:aesgcm:v1:", p.AESGCM.Keys, func(secret []byte) (box, error) { return newGCM(secret) })
	case p.AESCBC != nil:
		return newKeyed("k8s:enc:aescbc:v1:", p.AESCBC.Keys, func(secret []byte) (box, error) { return newCBC(secret) })
	case p.Secretbox != nil:
		return newKeyed("k8s:enc:secretbox:v1:", p.Secretbox.Keys, func(secret []byte) (box, error) {
			n := nacl(secret) // its length was validated
			return &n, nil
		})
	case p.KMS != nil:
		k, err := newKMS(p.KMS, s)
		if err == nil {
			r.plugins = append(r.plugins, k)
		}
		return k, err
	}
	return identity{}, nil
}

func newKeyed(head string, keys []apiserver.Key, algorithm func([]byte) (box, error)) (provider, error) {
	k := &keyed{head: head}
	for _, one := range keys {
		secret, err := base64.StdEncoding.DecodeString(one.Secret)
		if err != nil {
			return nil, fmt.Errorf("the secret of key %q is not base64", one.Name)
		}
		b, err := algorithm(secret)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", one.Name, err)
		}
		k.keys = append(k.keys, newKey(head, one.Name, secret, b))
	}
	return k, nil
}

// socket is the path of a unix:// endpoint; a path that begins with @ is in the abstract namespace.
func socket(endpoint string) string {
	path := strings.TrimPrefix(endpoint, "unix://")
	if strings.HasPrefix(path, "/@") {
		return path[1:]
	}
	return path
}

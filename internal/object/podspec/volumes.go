package podspec

import (
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object/goform"
)

// volumes are the sources of a pod's volumes by name.
type volumes map[string]*corev1.VolumeSource

// The bounds of a pod certificate's life in seconds: an hour and 91 days.
const (
	minCertificateLife = 60 * 60
	maxCertificateLife = 91 * 24 * 60 * 60
)

const fileModeText = "must be a number between 0 and 0777 (octal), both inclusive"

func validateVolumes(list []corev1.Volume, at *field.Path) (volumes, errs) {
	var out errs
	known := volumes{}
	names := unique{}
	for i := range list {
		v, p := &list[i], at.Index(i)
		before := len(out)
		out = append(out, validateVolume(&v.VolumeSource, v.Name, p)...)
		if bad := required(p.Child("name"), v.Name, validation.IsDNS1123Label); len(bad) > 0 {
			out = append(out, bad...)
		} else {
			out = append(out, names.add(p.Child("name"), v.Name)...)
		}
		if len(out) == before {
			known[v.Name] = &v.VolumeSource
		}
	}
	return known, out
}

// namedSource is one way that a volume may get its content.
type namedSource struct {
	name  string
	set   bool
	judge func(at *field.Path) errs
}

func validateVolume(v *corev1.VolumeSource, name string, at *field.Path) errs {
	var out errs
	n := 0
	for _, s := range append(localSources(v), networkSources(v, name, at)...) {
		if !s.set {
			continue
		}
		n++
		if n > 1 {
			out = append(out, field.Forbidden(at.Child(s.name), "may not specify more than 1 volume type"))
			continue
		}
		if s.judge != nil {
			out = append(out, s.judge(at.Child(s.name))...)
		}
	}
	if n == 0 {
		out = append(out, field.Required(at, "must specify a volume type"))
	}
	return out
}

func localSources(v *corev1.VolumeSource) []namedSource {
	return []namedSource{
		{"emptyDir", v.EmptyDir != nil, func(at *field.Path) errs { return validateEmptyDir(v.EmptyDir, at) }},
		{"hostPath", v.HostPath != nil, func(at *field.Path) errs { return ValidateHostPath(v.HostPath, at) }},
		{"gitRepo", v.GitRepo != nil, func(at *field.Path) errs {
			out := required(at.Child("repository"), v.GitRepo.Repository, nil)
			return append(out, relativePath(at.Child("directory"), v.GitRepo.Directory)...)
		}},
		{"persistentDisk", v.GCEPersistentDisk != nil, func(at *field.Path) errs {
			return append(texts(at, "pdName", v.GCEPersistentDisk.PDName), partition(v.GCEPersistentDisk.Partition, at)...)
		}},
		{"awsElasticBlockStore", v.AWSElasticBlockStore != nil, func(at *field.Path) errs {
			return append(texts(at, "volumeID", v.AWSElasticBlockStore.VolumeID), partition(v.AWSElasticBlockStore.Partition, at)...)
		}},
		{"secret", v.Secret != nil, func(at *field.Path) errs {
			out := required(at.Child("secretName"), v.Secret.SecretName, nil)
			return append(out, validateItems(v.Secret.Items, v.Secret.DefaultMode, at)...)
		}},
		{"configMap", v.ConfigMap != nil, func(at *field.Path) errs {
			out := required(at.Child("name"), v.ConfigMap.Name, nil)
			return append(out, validateItems(v.ConfigMap.Items, v.ConfigMap.DefaultMode, at)...)
		}},
		{downwardName(v), v.DownwardAPI != nil, func(at *field.Path) errs {
			out := validateMode(v.DownwardAPI.DefaultMode, at.Child("defaultMode"))
			return append(out, validateDownward(v.DownwardAPI.Items, at)...)
		}},
		{"projected", v.Projected != nil, func(at *field.Path) errs { return validateProjected(v.Projected, at) }},
		{"persistentVolumeClaim", v.PersistentVolumeClaim != nil, func(at *field.Path) errs {
			return required(at.Child("claimName"), v.PersistentVolumeClaim.ClaimName, nil)
		}},
		{"ephemeral", v.Ephemeral != nil, func(at *field.Path) errs { return validateEphemeralVolume(v.Ephemeral, at) }},
		{"csi", v.CSI != nil, func(at *field.Path) errs { return validateInlineCSI(v.CSI, at) }},
		{"image", v.Image != nil, func(at *field.Path) errs {
			out := required(at.Child("reference"), v.Image.Reference, nil)
			return append(out, requiredOneOf(at.Child("pullPolicy"), v.Image.PullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
		}},
	}
}

// downwardName is how clients know the field: misspelt where another source goes before it.
func downwardName(v *corev1.VolumeSource) string {
	if v.EmptyDir != nil || v.HostPath != nil || v.GitRepo != nil || v.GCEPersistentDisk != nil || v.AWSElasticBlockStore != nil || v.Secret != nil {
		return "downwarAPI"
	}
	return "downwardAPI"
}

func partition(n int32, at *field.Path) errs {
	if n < 0 || n > 255 {
		return errs{field.Invalid(at.Child("partition"), n, validation.InclusiveRangeError(1, 255))}
	}
	return nil
}

func validateEmptyDir(v *corev1.EmptyDirVolumeSource, at *field.Path) errs {
	var out errs
	if v.SizeLimit != nil && v.SizeLimit.Sign() < 0 {
		out = append(out, field.Forbidden(at.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"))
	}
	return out
}

// ValidateHostPath judges a path of the node.
func ValidateHostPath(v *corev1.HostPathVolumeSource, at *field.Path) errs {
	if v.Path == "" {
		return errs{field.Required(at.Child("path"), "")}
	}
	out := noBacksteps(at.Child("path"), v.Path)
	return append(out, oneOf(at.Child("type"), ptr.Deref(v.Type, corev1.HostPathUnset),
		corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate,
		corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)...)
}

func validateMode(mode *int32, at *field.Path) errs {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return errs{field.Invalid(at, *mode, fileModeText)}
	}
	return nil
}

func validateItems(items []corev1.KeyToPath, mode *int32, at *field.Path) errs {
	out := validateMode(mode, at.Child("defaultMode"))
	for i, item := range items {
		p := at.Child("items").Index(i)
		out = append(out, required(p.Child("key"), item.Key, nil)...)
		out = append(out, fileName(p.Child("path"), item.Path)...)
		out = append(out, validateMode(item.Mode, p.Child("mode"))...)
	}
	return out
}

func validateDownward(items []corev1.DownwardAPIVolumeFile, at *field.Path) errs {
	var out errs
	for i := range items {
		f, p := &items[i], at // clients know the errors without the index
		out = append(out, fileName(p.Child("path"), f.Path)...)
		switch {
		case f.FieldRef != nil:
			out = append(out, validateFieldRef(f.FieldRef, fileFields, p.Child("fieldRef"))...)
			if f.ResourceFieldRef != nil {
				out = append(out, field.Invalid(p, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
			}
		case f.ResourceFieldRef != nil:
			out = append(out, validateResourceFieldRef(f.ResourceFieldRef, p.Child("resourceFieldRef"), true)...)
		default:
			out = append(out, field.Required(p, "one of fieldRef and resourceFieldRef is required"))
		}
		out = append(out, validateMode(f.Mode, p.Child("mode"))...)
	}
	return out
}

func validateProjected(v *corev1.ProjectedVolumeSource, at *field.Path) errs {
	out := validateMode(v.DefaultMode, at.Child("defaultMode"))
	paths := unique{}
	once := func(named, path string) {
		if path != "" && len(paths.add(at, path)) > 0 {
			out = append(out, field.Invalid(at, named, "conflicting duplicate paths"))
		}
	}
	for i := range v.Sources {
		s, p := &v.Sources[i], at.Child("sources").Index(i)
		n := 0
		take := func(bad errs) {
			n++
			out = append(out, bad...)
			if n > 1 {
				out = append(out, field.Forbidden(p, "may not specify more than 1 volume type per source"))
			}
		}
		if x := s.Secret; x != nil {
			q := p.Child("secret")
			take(append(required(q.Child("name"), x.Name, nil), validateItems(x.Items, nil, q)...))
			for _, item := range x.Items {
				once(x.Name, item.Path)
			}
		}
		if x := s.ConfigMap; x != nil {
			q := p.Child("configMap")
			take(append(required(q.Child("name"), x.Name, nil), validateItems(x.Items, nil, q)...))
			for _, item := range x.Items {
				once(x.Name, item.Path)
			}
		}
		if x := s.DownwardAPI; x != nil {
			take(validateDownward(x.Items, p.Child("downwardAPI")))
			for _, item := range x.Items {
				once(item.Path, item.Path)
			}
		}
		if x := s.ServiceAccountToken; x != nil {
			take(validateTokenProjection(x, at, p.Child("serviceAccountToken")))
		}
		if x := s.ClusterTrustBundle; x != nil {
			take(validateTrustBundle(x, p.Child("clusterTrustBundle")))
			once(x.Path, x.Path)
		}
		if x := s.PodCertificate; x != nil {
			take(validatePodCertificate(x, p.Child("podCertificate")))
			for _, path := range []string{x.CredentialBundlePath, x.KeyPath, x.CertificateChainPath} {
				once(path, path)
			}
		}
	}
	return out
}

// validateTokenProjection judges a token's file. Clients know the errors of its path as those of the volume.
func validateTokenProjection(t *corev1.ServiceAccountTokenProjection, volume, at *field.Path) errs {
	out := fileName(volume.Child("path"), t.Path)
	e := ptr.Deref(t.ExpirationSeconds, 0)
	switch p := at.Child("expirationSeconds"); {
	case t.ExpirationSeconds == nil:
		out = append(out, field.Required(p, ""))
	case e < 10*60:
		out = append(out, field.Invalid(p, e, "may not specify a duration less than 10 minutes"))
	case e > math.MaxUint32:
		out = append(out, field.Invalid(p, e, "may not specify a duration larger than 2^32 seconds"))
	}
	return out
}

func validateTrustBundle(c *corev1.ClusterTrustBundleProjection, at *field.Path) errs {
	var out errs
	switch {
	case c.Name == nil && c.SignerName == nil:
		out = append(out, field.Required(at, "either name or signerName must be specified"))
	case c.Name != nil && c.SignerName != nil:
		out = append(out, field.Invalid(at, goform.Of(c), "only one of name and signerName may be used"))
	case c.Name != nil && c.LabelSelector != nil:
		out = append(out, field.Invalid(at.Child("labelSelector"), c.LabelSelector, "labelSelector must be unset if name is specified"))
	case c.Name != nil:
		if *c.Name == "" {
			out = append(out, field.Required(at.Child("name"), "must be a valid object name"))
		}
		out = append(out, trustBundleName(*c.Name, at.Child("name"))...)
	default:
		if *c.SignerName == "" {
			out = append(out, field.Required(at.Child("signerName"), "must be a valid signer name"))
		}
		out = append(out, ValidateSignerName(*c.SignerName, at.Child("signerName"))...)
		out = append(out, labelSelector(c.LabelSelector, at.Child("labelSelector"))...)
	}
	return append(out, fileName(at.Child("path"), c.Path)...)
}

func validatePodCertificate(c *corev1.PodCertificateProjection, at *field.Path) errs {
	out := ValidateSignerName(c.SignerName, at.Child("signerName"))
	out = append(out, oneOf(at.Child("keyType"), c.KeyType, "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")...)
	switch m, p := ptr.Deref(c.MaxExpirationSeconds, minCertificateLife), at.Child("maxExpirationSeconds"); {
	case m < minCertificateLife:
		out = append(out, field.Invalid(p, m, fmt.Sprintf("if provided, maxExpirationSeconds must be >= %d", minCertificateLife)))
	case m > maxCertificateLife:
		out = append(out, field.Invalid(p, m, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", maxCertificateLife)))
	}
	out = append(out, ValidateUserAnnotations(c.UserAnnotations, at.Child("userAnnotations"))...)
	n := 0
	for _, f := range []struct{ name, path string }{
		{"credentialBundlePath", c.CredentialBundlePath}, {"keyPath", c.KeyPath}, {"certificateChainPath", c.CertificateChainPath},
	} {
		if f.path != "" {
			n++
			out = append(out, fileName(at.Child(f.name), f.path)...)
		}
	}
	if n == 0 {
		out = append(out, field.Required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
	return out
}

func validateEphemeralVolume(v *corev1.EphemeralVolumeSource, at *field.Path) errs {
	if v.VolumeClaimTemplate == nil {
		return errs{field.Required(at.Child("volumeClaimTemplate"), "")}
	}
	t, at := v.VolumeClaimTemplate, at.Child("volumeClaimTemplate")
	p := at.Child("metadata")
	out := validateAnnotations(t.Annotations, p.Child("annotations"))
	out = append(out, metavalidation.ValidateLabels(t.Labels, p.Child("labels"))...)
	// The rest of the claim's metadata follows from the pod.
	rest := t.ObjectMeta
	rest.Annotations, rest.Labels = nil, nil
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"name", rest.Name != ""}, {"generateName", rest.GenerateName != ""}, {"namespace", rest.Namespace != ""},
		{"ownerReferences", rest.OwnerReferences != nil}, {"finalizers", rest.Finalizers != nil},
	} {
		if f.set {
			out = append(out, field.Forbidden(p.Child(f.name), "cannot be set"))
		}
	}
	return append(out, ValidateClaimSpec(&t.Spec, at.Child("spec"))...)
}

func validateInlineCSI(v *corev1.CSIVolumeSource, at *field.Path) errs {
	out := ValidateDriverName(v.Driver, at.Child("driver"))
	if r := v.NodePublishSecretRef; r != nil {
		if r.Name == "" {
			out = append(out, field.Required(at.Child("nodePublishSecretRef", "name"), ""))
		} else {
			out = append(out, invalid(at.Child("name"), r.Name, subdomain(r.Name))...) // clients know it as the driver's
		}
	}
	return out
}

// ValidateDriverName judges the name of a CSI driver: a DNS subdomain of at most 63 characters, of which
// capitals are allowed.
func ValidateDriverName(name string, at *field.Path) errs {
	if name == "" {
		return errs{field.Required(at, "")}
	}
	var out errs
	if len(name) > 63 {
		out = append(out, field.TooLong(at, "", 63))
	}
	return append(out, invalid(at, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}

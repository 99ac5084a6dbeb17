package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const onlyOne = "may not have more than one field specified at a time"

// The fields of a pod that its containers may see, in the environment and in files.
var (
	envFields = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
	fileFields = sets.New("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
	// podFields are all that a reference may name somewhere.
	podFields = envFields.Union(fileFields).Insert("spec.restartPolicy", "spec.schedulerName", "status.phase")
	// containerResources are those that a resourceFieldRef may name.
	containerResources = sets.New("limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage")
)

func validateEnv(env []corev1.EnvVar, at *field.Path) errs {
	var out errs
	for i := range env {
		e, p := &env[i], at.Index(i)
		out = append(out, required(p.Child("name"), e.Name, validation.IsRelaxedEnvVarName)...)
		if e.ValueFrom != nil {
			out = append(out, validateEnvSource(e, p.Child("valueFrom"))...)
		}
	}
	return out
}

func validateEnvSource(e *corev1.EnvVar, at *field.Path) errs {
	var out errs
	n, s := 0, e.ValueFrom
	if s.FieldRef != nil {
		n++
		out = append(out, validateFieldRef(s.FieldRef, envFields, at.Child("fieldRef"))...)
	}
	if s.ResourceFieldRef != nil {
		n++
		out = append(out, validateResourceFieldRef(s.ResourceFieldRef, at.Child("resourceFieldRef"), false)...)
	}
	if r := s.ConfigMapKeyRef; r != nil {
		n++
		out = append(out, validateKeyRef(r.Name, r.Key, at.Child("configMapKeyRef"))...)
	}
	if r := s.SecretKeyRef; r != nil {
		n++
		out = append(out, validateKeyRef(r.Name, r.Key, at.Child("secretKeyRef"))...)
	}
	if r := s.FileKeyRef; r != nil {
		n++
		out = append(out, validateFileKeyRef(r, at.Child("fileKeyRef"))...)
	}
	switch {
	case n == 0:
		out = append(out, field.Invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
	case e.Value != "":
		out = append(out, field.Invalid(at, "", "may not be specified when `value` is not empty"))
	case n > 1:
		out = append(out, field.Invalid(at, "", onlyOne))
	}
	return out
}

func validateKeyRef(name, key string, at *field.Path) errs {
	out := invalid(at.Child("name"), name, subdomain(name))
	return append(out, required(at.Child("key"), key, validation.IsConfigMapKey)...)
}

func validateFileKeyRef(r *corev1.FileKeySelector, at *field.Path) errs {
	out := required(at.Child("key"), r.Key, validation.IsRelaxedEnvVarName)
	if r.VolumeName == "" {
		out = append(out, field.Required(at.Child("volumeName"), ""))
	}
	if r.Path == "" {
		return append(out, field.Required(at.Child("path"), ""))
	}
	out = append(out, noBacksteps(at.Child("path"), r.Path)...)
	if strings.HasPrefix(r.Path, "..") && !strings.HasPrefix(r.Path, "../") {
		out = append(out, field.Invalid(at.Child("path"), r.Path, "must not start with '..'"))
	}
	return out
}

// validateFileVolumes wants the volumes that variables are read from to be there and to be empty directories. It comes after all else.
func validateFileVolumes(spec *corev1.PodSpec, at *field.Path) errs {
	vols := volumes{}
	for i := range spec.Volumes {
		vols[spec.Volumes[i].Name] = &spec.Volumes[i].VolumeSource
	}
	var out errs
	eachContainer(spec, at, func(c *corev1.Container, at *field.Path) {
		for i := range c.Env {
			if c.Env[i].ValueFrom == nil || c.Env[i].ValueFrom.FileKeyRef == nil {
				continue
			}
			name, p := c.Env[i].ValueFrom.FileKeyRef.VolumeName, at.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			if v, ok := vols[name]; !ok {
				out = append(out, field.NotFound(p, name))
			} else if v.EmptyDir == nil {
				out = append(out, field.Invalid(p, name, "referenced volume must be of type emptyDir"))
			}
		}
	})
	return out
}

// validateFieldRef judges a reference to a field of the pod, among them labels and annotations by key.
func validateFieldRef(r *corev1.ObjectFieldSelector, allowed sets.Set[string], at *field.Path) errs {
	var out errs
	if r.APIVersion == "" {
		return errs{field.Required(at.Child("apiVersion"), "")}
	}
	if r.FieldPath == "" {
		return errs{field.Required(at.Child("fieldPath"), "")}
	}
	p := at.Child("fieldPath")
	path, key, subscripted := splitSubscript(r.FieldPath)
	if r.APIVersion != "v1" {
		return errs{field.Invalid(p, r.FieldPath, "error converting fieldPath: unsupported pod version: "+r.APIVersion)}
	}
	if !podFields.Has(path) {
		return errs{field.Invalid(p, r.FieldPath, "error converting fieldPath: field label not supported: "+path)}
	}
	switch {
	case !subscripted && !allowed.Has(r.FieldPath):
		out = append(out, field.NotSupported(p, r.FieldPath, sets.List(allowed)))
	case !subscripted:
	case path == "metadata.annotations":
		out = append(out, invalid(at, key, validation.IsQualifiedName(strings.ToLower(key)))...)
	case path == "metadata.labels":
		out = append(out, invalid(at, key, validation.IsQualifiedName(key))...)
	default:
		out = append(out, field.Invalid(p, path, "does not support subscript"))
	}
	return out
}

// splitSubscript takes metadata.labels['key'] apart.
func splitSubscript(path string) (name, key string, ok bool) {
	body, found := strings.CutSuffix(path, "']")
	if !found {
		return path, "", false
	}
	name, key, ok = strings.Cut(body, "['")
	if !ok || name == "" {
		return path, "", false
	}
	return name, key, true
}

func validateResourceFieldRef(r *corev1.ResourceFieldSelector, at *field.Path, inVolume bool) errs {
	var out errs
	if inVolume && r.ContainerName == "" {
		out = append(out, field.Required(at.Child("containerName"), ""))
	}
	name := r.Resource
	switch {
	case name == "":
		return append(out, field.Required(at.Child("resource"), ""))
	case strings.HasPrefix(name, "limits.hugepages-"), strings.HasPrefix(name, "requests.hugepages-"):
		return append(out, validateDivisor(r, at, memoryDivisors)...)
	case !containerResources.Has(name):
		return append(out, field.NotSupported(at.Child("resource"), name, sets.List(containerResources)))
	case strings.HasSuffix(name, ".cpu"):
		return append(out, validateDivisor(r, at, cpuDivisors)...)
	}
	return append(out, validateDivisor(r, at, memoryDivisors)...)
}

var (
	cpuDivisors    = sets.New("1m", "1")
	memoryDivisors = sets.New("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
)

func validateDivisor(r *corev1.ResourceFieldSelector, at *field.Path, allowed sets.Set[string]) errs {
	if r.Divisor.Cmp(resource.Quantity{}) == 0 || allowed.Has(r.Divisor.String()) {
		return nil
	}
	name := r.Resource[strings.Index(r.Resource, ".")+1:]
	text := "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the " + name + " resource"
	switch {
	case name == "cpu":
		text = "only divisor's values 1m and 1 are supported with the cpu resource"
	case name == "ephemeral-storage":
		text = strings.Replace(text, "ephemeral-storage", "local ephemeral storage", 1)
	case strings.HasPrefix(name, "hugepages-"):
		text = strings.Replace(text, name, "hugepages", 1)
	}
	return errs{field.Invalid(at.Child("divisor"), r.Resource, text)}
}

func validateEnvFrom(from []corev1.EnvFromSource, at *field.Path) errs {
	var out errs
	for i := range from {
		f, p := &from[i], at.Index(i)
		out = append(out, optional(p.Child("prefix"), f.Prefix, validation.IsRelaxedEnvVarName)...)
		n := 0
		if f.ConfigMapRef != nil {
			n++
			out = append(out, required(p.Child("configMapRef", "name"), f.ConfigMapRef.Name, subdomain)...)
		}
		if f.SecretRef != nil {
			n++
			out = append(out, required(p.Child("secretRef", "name"), f.SecretRef.Name, subdomain)...)
		}
		switch {
		case n == 0:
			out = append(out, field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		case n > 1:
			out = append(out, field.Invalid(at, "", onlyOne))
		}
	}
	return out
}

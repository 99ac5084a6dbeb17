// Package env builds the environment of a container: literals, references to config maps, secrets, files and the downward
// API, whole config maps and secrets, and the variables of services.
//
// Later definitions win over earlier ones; env wins over envFrom, and both over service variables.
// A value may refer to variables before it as $(NAME). An object that is missing and not
// optional is an error whose text is what users see in the container's CreateContainerConfigError.
package env

import (
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/node/downward"
)

// Objects gives the config maps and secrets of the pod's namespace. Errors are API errors.
type Objects interface {
	ConfigMap(namespace, name string) (*corev1.ConfigMap, error)
	Secret(namespace, name string) (*corev1.Secret, error)
}

// Inputs are what the environment is built from.
type Inputs struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Facts     downward.Facts
	Objects   Objects
	Services  map[string]string
	// File reads a file of one of the pod's volumes, for fileKeyRef. Optional: nil makes such references errors.
	File func(volume, path string) ([]byte, error)
}

// Var is one variable.
type Var struct{ Name, Value string }

// Build gives the container's variables, in the order of their definition, service variables last.
func Build(in Inputs) ([]Var, error) {
	b := builder{in: in, values: map[string]string{}}
	for i := range in.Container.EnvFrom {
		if err := b.from(&in.Container.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	for i := range in.Container.Env {
		if err := b.one(&in.Container.Env[i]); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(in.Services) {
		if _, set := b.values[name]; !set {
			b.set(name, in.Services[name])
		}
	}
	vars := make([]Var, len(b.order))
	for i, name := range b.order {
		vars[i] = Var{name, b.values[name]}
	}
	return vars, nil
}

type builder struct {
	in     Inputs
	values map[string]string
	order  []string
}

func (b *builder) set(name, value string) {
	if _, there := b.values[name]; !there {
		b.order = append(b.order, name)
	}
	b.values[name] = value
}

func (b *builder) lookup(name string) (string, bool) {
	if v, ok := b.values[name]; ok {
		return v, true
	}
	v, ok := b.in.Services[name]
	return v, ok
}

func (b *builder) from(f *corev1.EnvFromSource) error {
	ns := b.in.Pod.Namespace
	switch {
	case f.ConfigMapRef != nil:
		cm, err := b.in.Objects.ConfigMap(ns, f.ConfigMapRef.Name)
		if err != nil {
			return unlessOptional(err, f.ConfigMapRef.Optional, "couldn't get configMap %v/%v, %v", ns, f.ConfigMapRef.Name)
		}
		for _, k := range sortedKeys(cm.Data) {
			b.set(f.Prefix+k, cm.Data[k])
		}
	case f.SecretRef != nil:
		s, err := b.in.Objects.Secret(ns, f.SecretRef.Name)
		if err != nil {
			return unlessOptional(err, f.SecretRef.Optional, "couldn't get secret %v/%v, %v", ns, f.SecretRef.Name)
		}
		for _, k := range sortedKeys(s.Data) {
			b.set(f.Prefix+k, string(s.Data[k]))
		}
	}
	return nil
}

// unlessOptional hides the absence of an optional object, and nothing else.
func unlessOptional(err error, optional *bool, format, namespace, name string) error {
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf(format, namespace, name, err)
	}
	if optional != nil && *optional {
		return nil
	}
	return err
}

func (b *builder) one(v *corev1.EnvVar) error {
	src := v.ValueFrom
	if src == nil {
		b.set(v.Name, Expand(v.Value, b.lookup))
		return nil
	}
	value, there, err := b.valueFrom(src)
	if err != nil {
		return err
	}
	if there {
		b.set(v.Name, value)
	}
	return nil
}

func (b *builder) valueFrom(src *corev1.EnvVarSource) (value string, there bool, err error) {
	pod := b.in.Pod
	switch {
	case src.FieldRef != nil:
		value, err = downward.Field(pod, src.FieldRef.FieldPath, b.in.Facts)
		return value, true, err
	case src.ResourceFieldRef != nil:
		value, err = downward.Resource(pod, src.ResourceFieldRef, b.in.Container, b.in.Facts)
		return value, true, err
	case src.ConfigMapKeyRef != nil:
		r := src.ConfigMapKeyRef
		cm, err := b.in.Objects.ConfigMap(pod.Namespace, r.Name)
		if err != nil {
			return "", false, unlessOptional(err, r.Optional, "couldn't get configMap %v/%v, %v", pod.Namespace, r.Name)
		}
		value, there = cm.Data[r.Key]
		return value, there, missingKey(there, r.Optional, r.Key, "ConfigMap", pod.Namespace, r.Name)
	case src.SecretKeyRef != nil:
		r := src.SecretKeyRef
		s, err := b.in.Objects.Secret(pod.Namespace, r.Name)
		if err != nil {
			return "", false, unlessOptional(err, r.Optional, "couldn't get secret %v/%v, %v", pod.Namespace, r.Name)
		}
		data, there := s.Data[r.Key]
		return string(data), there, missingKey(there, r.Optional, r.Key, "Secret", pod.Namespace, r.Name)
	case src.FileKeyRef != nil:
		return b.fileKey(src.FileKeyRef)
	}
	return "", false, nil
}

func missingKey(there bool, optional *bool, key, kind, namespace, name string) error {
	if there || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("couldn't find key %v in %s %v/%v", key, kind, namespace, name)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

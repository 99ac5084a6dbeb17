package static

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// Annotations of static pods and of their mirrors, as upstream's.
const (
	annotationSource = "kubernetes.io/config.source"
	annotationHash   = "kubernetes.io/config.hash"
	annotationMirror = corev1.MirrorPodAnnotationKey
)

// IsStatic says whether a pod comes from a file of the node.
func IsStatic(p *corev1.Pod) bool {
	s := p.Annotations[annotationSource]
	return s != "" && s != "api" && p.Annotations[annotationMirror] == ""
}

// IsMirror says whether a pod is the image of a static pod in the API.
func IsMirror(p *corev1.Pod) bool {
	_, ok := p.Annotations[annotationMirror]
	return ok
}

// Parse a manifest: one v1 Pod in YAML or JSON; unknown fields are errors. The pod's UID follows from its content and the node, so that
// a changed file is another pod.
func Parse(data []byte, path, node string, defaults func(*corev1.Pod)) (*corev1.Pod, error) {
	var p corev1.Pod
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		return nil, err
	}
	if p.Kind != "Pod" || p.APIVersion != "v1" {
		return nil, fmt.Errorf("is a %s %s, not a v1 Pod", p.APIVersion, p.Kind)
	}
	if p.Name == "" || len(p.Spec.Containers) == 0 {
		return nil, errors.New("a pod needs a name and a container")
	}
	if err := standalone(&p.Spec); err != nil {
		return nil, err
	}
	if p.UID == "" {
		sum := sha256.Sum256([]byte(node + "\x00" + path + "\x00" + string(data)))
		p.UID = types.UID(hex.EncodeToString(sum[:16]))
	}
	if p.Namespace == "" {
		p.Namespace = corev1.NamespaceDefault
	}
	p.Name += "-" + strings.ToLower(node)
	p.Spec.NodeName = node
	p.Generation = 1
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[annotationSource], p.Annotations[annotationHash] = "file", string(p.UID)
	// The node that runs it cannot send it elsewhere.
	p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})
	if defaults != nil {
		defaults(&p)
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	return &p, nil
}

// standalone refuses what a static pod cannot have: references to objects of the API.
func standalone(s *corev1.PodSpec) error {
	if s.ServiceAccountName != "" {
		return errors.New("static pods cannot have a service account")
	}
	for i := range s.Volumes {
		v := &s.Volumes[i].VolumeSource
		if v.ConfigMap != nil || v.Secret != nil || v.PersistentVolumeClaim != nil || v.Projected != nil && len(v.Projected.Sources) > 0 {
			return fmt.Errorf("static pods cannot refer to objects of the API: volume %s", s.Volumes[i].Name)
		}
	}
	return nil
}

// readDir parses every manifest of a directory, or the one file. A bad file is an error of its own and does not keep the others out.
func readDir(path, node string, defaults func(*corev1.Pod)) (map[string]*corev1.Pod, []error) {
	files := []string{path}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{err}
	}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*")); err != nil {
			return nil, []error{err}
		}
		sort.Strings(files)
	}
	pods, errs := map[string]*corev1.Pod{}, []error(nil)
	for _, f := range files {
		if strings.HasPrefix(filepath.Base(f), ".") {
			continue
		}
		p, err := readFile(f, node, defaults)
		if err != nil {
			errs = append(errs, fmt.Errorf("static pod %s: %w", f, err))
		} else if p != nil {
			pods[f] = p
		}
	}
	return pods, errs
}

func readFile(path, node string, defaults func(*corev1.Pod)) (*corev1.Pod, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // removed since the directory was read
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil || len(strings.TrimSpace(string(data))) == 0 {
		return nil, err // an empty file is being written
	}
	return Parse(data, path, node, defaults)
}

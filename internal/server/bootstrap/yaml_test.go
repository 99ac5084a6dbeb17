package bootstrap

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"hyperkube/configs"
)

const (
	bootstrapLabel       = "kubernetes.io/bootstrapping"
	bootstrapValue       = "rbac-defaults"
	controllerRolePrefix = "system:controller:"
)

// TestBinaryIsFresh compares what is built in with the YAML it is made of.
func TestBinaryIsFresh(t *testing.T) {
	d, err := fromYAML()
	require.NoError(t, err)
	data, err := d.pack()
	require.NoError(t, err)
	golden(t, "../../../configs/rbac.bin", data)
}

// fromYAML reads configs/rbac. Roles that aggregate others get their rules here, so that they work before the controller for
// it runs.
func fromYAML() (*RBAC, error) {
	d := &RBAC{}
	files, err := fs.Glob(configs.RBAC, "rbac/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, err := configs.RBAC.ReadFile(f)
		if err != nil {
			return nil, err
		}
		for n, doc := range bytes.Split(data, []byte("\n---\n")) {
			if err := d.add(doc); err != nil {
				return nil, fmt.Errorf("%s, document %d: %w", f, n+1, err)
			}
		}
	}
	d.aggregate()
	return d, nil
}

func (d *RBAC) add(doc []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "ClusterRole":
		r, err := decode[rbacv1.ClusterRole](doc)
		if err != nil {
			return err
		}
		mark(&r.ObjectMeta)
		d.ClusterRoles = append(d.ClusterRoles, r)
		if sa, ok := strings.CutPrefix(r.Name, controllerRolePrefix); ok {
			d.ClusterRoleBindings = append(d.ClusterRoleBindings, controllerBinding(r.Name, sa))
		}
	case "ClusterRoleBinding":
		r, err := decode[rbacv1.ClusterRoleBinding](doc)
		if err != nil {
			return err
		}
		mark(&r.ObjectMeta)
		d.ClusterRoleBindings = append(d.ClusterRoleBindings, r)
	case "Role":
		r, err := decode[rbacv1.Role](doc)
		if err != nil {
			return err
		}
		mark(&r.ObjectMeta)
		d.Roles = append(d.Roles, r)
	case "RoleBinding":
		r, err := decode[rbacv1.RoleBinding](doc)
		if err != nil {
			return err
		}
		mark(&r.ObjectMeta)
		d.RoleBindings = append(d.RoleBindings, r)
	default:
		return fmt.Errorf("unknown kind %q", kind.Kind)
	}
	return nil
}

func decode[T any](doc []byte) (*T, error) {
	v := new(T)
	return v, yaml.UnmarshalStrict(doc, v)
}

// mark puts on what tells default objects from others and lets them be brought up to date.
func mark(m *metav1.ObjectMeta) {
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	m.Labels[bootstrapLabel] = bootstrapValue
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[rbacv1.AutoUpdateAnnotationKey] = "true"
}

func controllerBinding(role, account string) *rbacv1.ClusterRoleBinding {
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: metav1.NamespaceSystem}},
	}
	mark(&b.ObjectMeta)
	return b
}

// aggregate fills in the rules of aggregated roles. They select each other, so it goes on until nothing changes.
func (d *RBAC) aggregate() {
	for changed := true; changed; {
		changed = false
		for _, r := range d.ClusterRoles {
			if r.AggregationRule != nil && d.collect(r) {
				changed = true
			}
		}
	}
}

func (d *RBAC) collect(r *rbacv1.ClusterRole) (changed bool) {
	for i := range r.AggregationRule.ClusterRoleSelectors {
		s, err := metav1.LabelSelectorAsSelector(&r.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			continue // the golden test shows what is missing then
		}
		for _, other := range d.ClusterRoles {
			if other == r || !s.Matches(labelSet(other.Labels)) {
				continue
			}
			for _, rule := range other.Rules {
				if !slices.ContainsFunc(r.Rules, func(have rbacv1.PolicyRule) bool { return sameRule(&have, &rule) }) {
					r.Rules = append(r.Rules, rule)
					changed = true
				}
			}
		}
	}
	return changed
}

type labelSet map[string]string

func (l labelSet) Has(key string) bool              { _, ok := l[key]; return ok }
func (l labelSet) Get(key string) string            { return l[key] }
func (l labelSet) Lookup(key string) (string, bool) { v, ok := l[key]; return v, ok }

package bootstrap

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
	"sigs.k8s.io/yaml"

	"hyperkube/configs"
)

// RBAC is the set of default roles and bindings.
type RBAC struct {
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

const (
	bootstrapLabel       = "kubernetes.io/bootstrapping"
	bootstrapValue       = "rbac-defaults"
	controllerRolePrefix = "system:controller:"
)

// Defaults reads the roles and bindings of configs/rbac. Roles that aggregate others hold their rules already, so that
// they work before the controller for it runs.
func Defaults() (*RBAC, error) {
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

func sameRule(a, b *rbacv1.PolicyRule) bool {
	return slices.Equal(a.Verbs, b.Verbs) && slices.Equal(a.APIGroups, b.APIGroups) && slices.Equal(a.Resources, b.Resources) &&
		slices.Equal(a.ResourceNames, b.ResourceNames) && slices.Equal(a.NonResourceURLs, b.NonResourceURLs)
}

// autoUpdated says whether a default object may be brought up to date.
func autoUpdated(o metav1.Object) bool {
	return o.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] != "false"
}

// mergeClusterRole adds what the default has and the stored role lacks. The rules of aggregated roles are the controller's.
func mergeClusterRole(have, want *rbacv1.ClusterRole) bool {
	if !autoUpdated(have) {
		return false
	}
	if want.AggregationRule == nil {
		labels, rules := addLabels(have, want), addRules(&have.Rules, want.Rules)
		return labels || rules
	}
	if have.AggregationRule == nil {
		have.AggregationRule = want.AggregationRule.DeepCopy()
		addLabels(have, want)
		return true
	}
	return addLabels(have, want)
}

// addLabels adds missing labels: the ones that aggregation goes by matter.
func addLabels(have, want *rbacv1.ClusterRole) (changed bool) {
	for k, v := range want.Labels {
		if have.Labels[k] == v {
			continue
		}
		if have.Labels == nil {
			have.Labels = map[string]string{}
		}
		have.Labels[k] = v
		changed = true
	}
	return changed
}

func addRules(have *[]rbacv1.PolicyRule, want []rbacv1.PolicyRule) bool {
	if len(*have) == len(want) && slices.EqualFunc(*have, want, func(a, b rbacv1.PolicyRule) bool { return sameRule(&a, &b) }) {
		return false
	}
	_, missing := validation.Covers(*have, want)
	*have = append(*have, missing...)
	return len(missing) > 0
}

func addSubjects(have *[]rbacv1.Subject, want []rbacv1.Subject) (changed bool) {
	for _, s := range want {
		if !slices.Contains(*have, s) {
			*have = append(*have, s)
			changed = true
		}
	}
	return changed
}

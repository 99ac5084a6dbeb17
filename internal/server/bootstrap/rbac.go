package bootstrap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"hyperkube/configs"
)

// RBAC is the set of default roles and bindings.
type RBAC struct {
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

// Defaults gives the roles and bindings of configs/rbac. They are decoded from a binary form of these files, which a test
// keeps fresh: to read the YAML takes thirty times as long, at a moment when every start waits for it.
func Defaults() (*RBAC, error) { return unpack(configs.RBACBinary) }

// message is what the types of k8s.io/api have for protobuf.
type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// pack writes the four lists one after the other, each behind its length. Aggregated rules and what marks the objects as
// defaults are in them already.
func (d *RBAC) pack() ([]byte, error) {
	var out []byte
	for _, l := range []message{
		&rbacv1.ClusterRoleList{Items: values(d.ClusterRoles)}, &rbacv1.ClusterRoleBindingList{Items: values(d.ClusterRoleBindings)},
		&rbacv1.RoleList{Items: values(d.Roles)}, &rbacv1.RoleBindingList{Items: values(d.RoleBindings)},
	} {
		data, err := l.Marshal()
		if err != nil {
			return nil, err
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(data))), data...)
	}
	return out, nil
}

func unpack(data []byte) (*RBAC, error) {
	var clusterRoles rbacv1.ClusterRoleList
	var clusterRoleBindings rbacv1.ClusterRoleBindingList
	var roles rbacv1.RoleList
	var roleBindings rbacv1.RoleBindingList
	for _, l := range []message{&clusterRoles, &clusterRoleBindings, &roles, &roleBindings} {
		if len(data) < 4 || uint64(len(data)-4) < uint64(binary.BigEndian.Uint32(data)) {
			return nil, errors.New("the default roles are cut off")
		}
		end := 4 + int(binary.BigEndian.Uint32(data))
		if err := l.Unmarshal(data[4:end]); err != nil {
			return nil, fmt.Errorf("reading the default roles: %w", err)
		}
		data = data[end:]
	}
	return &RBAC{pointers(clusterRoles.Items), pointers(clusterRoleBindings.Items), pointers(roles.Items), pointers(roleBindings.Items)}, nil
}

func values[T any](list []*T) []T {
	out := make([]T, len(list))
	for i, p := range list {
		out[i] = *p
	}
	return out
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

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

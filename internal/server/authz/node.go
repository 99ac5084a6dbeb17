package authz

import (
	"context"
	"fmt"
	"slices"
	"strings"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Node lets each kubelet do what its own node and the pods bound to it need, and nothing else
// (https://kubernetes.io/docs/reference/access-authn-authz/node/). A kubelet is user system:node:<name> in the group
// system:nodes.
type Node struct {
	graph *graph
	rules []rbacv1.PolicyRule
}

const nodeUserPrefix = "system:node:"

// NodeName is the node whose kubelet the user is; false for all others.
func NodeName(u user.Info) (string, bool) {
	name, ok := strings.CutPrefix(u.GetName(), nodeUserPrefix)
	if !ok || name == "" || !slices.Contains(u.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return name, true
}

func newNode(c *Config) *Node {
	return &Node{graph: &graph{c.API}, rules: nodeRules()}
}

// Authorize implements the authorizer.
func (n *Node) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	node, ok := NodeName(a.GetUser())
	if !ok {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if a.IsResourceRequest() {
		if f := special(a.GetAPIGroup(), a.GetResource()); f != nil {
			reason, err := f(ctx, n, node, a)
			if err != nil {
				return authorizer.DecisionNoOpinion, "", err
			}
			if reason != "" {
				return authorizer.DecisionNoOpinion, reason, nil
			}
			return authorizer.DecisionAllow, "", nil
		}
	}
	if q := askOf(a); q.allowedByAny(n.rules) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// judge decides on one resource; an empty reason allows.
type judge func(ctx context.Context, n *Node, node string, a authorizer.Attributes) (reason string, err error)

// special are the resources of which a node may use only some objects.
func special(group, resource string) judge {
	switch group + "/" + resource {
	case "/secrets":
		return related(secretRef, "get", "list", "watch")
	case "/configmaps":
		return related(configMapRef, "get", "list", "watch")
	case "/persistentvolumeclaims":
		return judgeClaim
	case "/persistentvolumes":
		return related(volumeRef, "get")
	case "/serviceaccounts":
		return judgeServiceAccount
	case "/nodes":
		return judgeNode
	case "/pods":
		return judgePod
	case "resource.k8s.io/resourceclaims":
		return related(resourceClaimRef, "get")
	case "resource.k8s.io/resourceslices":
		return judgeSlice
	case "storage.k8s.io/volumeattachments":
		return related(attachmentRef, "get")
	case "storage.k8s.io/csinodes":
		return judgeCSINode
	case coordv1.GroupName + "/leases":
		return judgeLease
	case "certificates.k8s.io/podcertificaterequests":
		return judgePodCertificate
	}
	return nil
}

// related allows some verbs on single objects that belong to a pod of the node.
func related(kind refKind, verbs ...string) judge {
	return func(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
		if !slices.Contains(verbs, a.GetVerb()) || a.GetSubresource() != "" {
			if len(verbs) > 1 {
				return "can only read resources of this type", nil
			}
			return "can only get individual resources of this type", nil
		}
		return n.graph.check(ctx, node, kind, a.GetNamespace(), a.GetName())
	}
}

func judgeClaim(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
	switch {
	case a.GetSubresource() == "" && a.GetVerb() == "get":
	case a.GetSubresource() == "status" && slices.Contains([]string{"get", "update", "patch"}, a.GetVerb()):
	default:
		return "can only get individual resources of this type, and update their status", nil
	}
	return n.graph.check(ctx, node, claimRef, a.GetNamespace(), a.GetName())
}

func judgeServiceAccount(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
	token := a.GetSubresource() == "token" && a.GetVerb() == "create"
	get := a.GetSubresource() == "" && a.GetVerb() == "get"
	if !token && !get {
		return "can only create tokens for individual service accounts", nil
	}
	return n.graph.check(ctx, node, accountRef, a.GetNamespace(), a.GetName())
}

func judgeNode(_ context.Context, _ *Node, node string, a authorizer.Attributes) (string, error) {
	switch a.GetSubresource() {
	case "":
	case "status":
		if a.GetVerb() == "update" || a.GetVerb() == "patch" {
			return own(node, a, "")
		}
		return "can only update and patch the status", nil
	default:
		return fmt.Sprintf("cannot use subresource %q", a.GetSubresource()), nil
	}
	switch a.GetVerb() {
	case "create":
		return "", nil // a create has no name here; NodeRestriction looks into the object
	case "get", "list", "watch", "update", "patch":
		return own(node, a, fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", node, a.GetName()))
	}
	return "can only create, read, update and patch its own Node object", nil
}

// own allows the object that has the node's name.
func own(node string, a authorizer.Attributes, otherwise string) (string, error) {
	if a.GetName() == node {
		return "", nil
	}
	if otherwise == "" {
		otherwise = fmt.Sprintf("can only access the object with the same name as the requesting node ('%s')", node)
	}
	return otherwise, nil
}

func judgePod(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
	switch a.GetSubresource() {
	case "":
	case "status":
		if a.GetVerb() == "update" || a.GetVerb() == "patch" {
			return "", nil // NodeRestriction looks at the pod's node
		}
		return "can only update and patch the status", nil
	case "eviction":
		if a.GetVerb() == "create" {
			return "", nil
		}
		return "can only create evictions", nil
	default:
		return fmt.Sprintf("cannot use subresource %q", a.GetSubresource()), nil
	}
	switch a.GetVerb() {
	case "create", "delete":
		return "", nil // NodeRestriction looks at the pod's node
	case "get":
		return n.graph.check(ctx, node, podRef, a.GetNamespace(), a.GetName())
	case "list", "watch":
		if selects(a, "spec.nodeName", node) {
			return "", nil
		}
		if a.GetName() != "" {
			return n.graph.check(ctx, node, podRef, a.GetNamespace(), a.GetName())
		}
		return fmt.Sprintf("can only list/watch pods with spec.nodeName field selector of '%s'", node), nil
	}
	return "can only create, read and delete pods", nil
}

// selects says whether the field selector pins a field to a value.
func selects(a authorizer.Attributes, field, value string) bool {
	reqs, err := a.GetFieldSelector()
	return err == nil && slices.ContainsFunc(reqs, func(r fields.Requirement) bool {
		return r.Field == field && r.Value == value && (r.Operator == selection.Equals || r.Operator == selection.DoubleEquals)
	})
}

func judgeLease(_ context.Context, _ *Node, node string, a authorizer.Attributes) (string, error) {
	if !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, a.GetVerb()) {
		return "can only get, create, update, patch, or delete a node lease", nil
	}
	if a.GetNamespace() != corev1.NamespaceNodeLease {
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease), nil
	}
	if a.GetVerb() != "create" && a.GetName() != node {
		return "can only access node lease with the same name as the requesting node", nil
	}
	return "", nil
}

func judgeCSINode(_ context.Context, _ *Node, node string, a authorizer.Attributes) (string, error) {
	if !slices.Contains([]string{"get", "create", "update", "patch", "delete"}, a.GetVerb()) {
		return "can only get, create, update, patch, or delete a CSINode", nil
	}
	if a.GetSubresource() != "" {
		return "cannot authorize CSINode subresources", nil
	}
	if a.GetVerb() != "create" && a.GetName() != node {
		return "can only access CSINode with the same name as the requesting node", nil
	}
	return "", nil
}

func judgeSlice(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
	if a.GetSubresource() != "" {
		return "cannot authorize ResourceSlice subresources", nil
	}
	switch a.GetVerb() {
	case "create":
		return "", nil // NodeRestriction looks at the node name inside
	case "get", "update", "patch", "delete":
		return n.graph.check(ctx, node, sliceRef, "", a.GetName())
	case "list", "watch", "deletecollection":
		if selects(a, "spec.nodeName", node) {
			return "", nil
		}
		return fmt.Sprintf("can only list/watch/deletecollection resourceslices with spec.nodeName field selector of '%s'", node), nil
	}
	return "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection", nil
}

func judgePodCertificate(ctx context.Context, n *Node, node string, a authorizer.Attributes) (string, error) {
	if a.GetSubresource() != "" {
		return "cannot use the subresources of PodCertificateRequests", nil
	}
	switch a.GetVerb() {
	case "create":
		return "", nil // NodeRestriction looks at pod and node inside
	case "get":
		return n.graph.check(ctx, node, podCertificateRef, a.GetNamespace(), a.GetName())
	case "list", "watch":
		if selects(a, "spec.nodeName", node) {
			return "", nil
		}
		return fmt.Sprintf("can only list/watch podcertificaterequests with spec.nodeName field selector of '%s'", node), nil
	}
	return "can only create and read PodCertificateRequests", nil
}

// nodeRules are what every node may do, whatever runs on it.
func nodeRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	rule := func(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	return []rbacv1.PolicyRule{
		rule("authentication.k8s.io", []string{"create"}, "tokenreviews"),
		rule("authorization.k8s.io", []string{"create"}, "subjectaccessreviews", "localsubjectaccessreviews"),
		rule("", read, "services"),
		rule("", []string{"create", "patch", "update"}, "events"),
		rule("events.k8s.io", []string{"create", "patch", "update"}, "events"),
		rule("certificates.k8s.io", []string{"create", "get", "list", "watch"}, "certificatesigningrequests"),
		rule("certificates.k8s.io", read, "clustertrustbundles"),
		rule("storage.k8s.io", read, "csidrivers"),
		rule("node.k8s.io", read, "runtimeclasses"),
	}
}

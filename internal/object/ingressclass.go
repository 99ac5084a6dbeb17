package object

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func ingressClassKind() *Kind {
	return &Kind{
		Versions: []Version{version[networkingv1.IngressClass, networkingv1.IngressClassList](
			networkingv1.SchemeGroupVersion, "IngressClass")},
		Resource:      "ingressclasses",
		Singular:      "ingressclass",
		Scope:         Cluster,
		StoragePrefix: "ingressclasses",
		Strategy: rules[*networkingv1.IngressClass]{
			Default: func(c *networkingv1.IngressClass) {
				if p := c.Spec.Parameters; p != nil {
					setDefaultPtr(&p.Scope, networkingv1.IngressClassParametersReferenceScopeCluster)
				}
			},
			PrepareCreate: func(c *networkingv1.IngressClass) { firstGeneration(c) },
			PrepareUpdate: func(c, old *networkingv1.IngressClass) { nextGeneration(c, old, c.Spec, old.Spec) },
			Compare: func(c, old *networkingv1.IngressClass) field.ErrorList {
				var errs field.ErrorList
				if old != nil {
					errs = immutable(c.Spec.Controller, old.Spec.Controller, specPath.Child("controller"))
				}
				return append(errs, validateIngressClass(c)...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Controller", "string", "Controller that is responsible for handling this class"),
			column("Parameters", "string", "A reference to a resource with additional parameters"),
			ageColumn(),
		},
		Cells: cells(func(c *networkingv1.IngressClass, now time.Time) []any {
			parameters := none
			if p := c.Spec.Parameters; p != nil {
				parameters = p.Kind
				if g := deref(p.APIGroup, ""); g != "" {
					parameters += "." + g
				}
				parameters += "/" + p.Name
			}
			return []any{c.Name, c.Spec.Controller, parameters, age(c, now)}
		}),
	}
}

func validateIngressClass(c *networkingv1.IngressClass) field.ErrorList {
	at := specPath.Child("controller")
	var errs field.ErrorList
	if len(c.Spec.Controller) > 250 {
		errs = append(errs, field.TooLong(at, "", 250))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(at, c.Spec.Controller)...)
	p := c.Spec.Parameters
	if p == nil {
		return errs
	}
	at = specPath.Child("parameters")
	if g := p.APIGroup; g != nil {
		errs = append(errs, check(at.Child("apiGroup"), *g, validation.IsDNS1123Subdomain(*g))...)
	}
	for name, value := range inOrder(named("kind", p.Kind), named("name", p.Name)) {
		if value == "" {
			errs = append(errs, field.Required(at.Child(name), ""))
		} else {
			errs = append(errs, check(at.Child(name), value, nameIsSegment(value, false))...)
		}
	}
	const cluster, namespace = networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace
	if p.Scope == nil {
		errs = append(errs, field.Required(at.Child("scope"), ""))
	} else {
		errs = append(errs, oneOf(at.Child("scope"), *p.Scope, cluster, namespace)...)
	}
	switch deref(p.Scope, "") {
	case namespace:
		if n := p.Namespace; n == nil {
			errs = append(errs, field.Required(at.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
		} else {
			errs = append(errs, check(at.Child("namespace"), *n, nameIsLabel(*n, false))...)
		}
	case cluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(at.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
		}
	}
	return errs
}

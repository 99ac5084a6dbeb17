package object

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func ipAddressKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.IPAddress, networkingv1.IPAddressList](networkingv1.SchemeGroupVersion, "IPAddress")},
		Resource:      "ipaddresses",
		Singular:      "ipaddress",
		ShortNames:    []string{"ip"},
		Scope:         Cluster,
		StoragePrefix: "ipaddresses",
		WholeNames:    true, // an address and some letters are none
		Strategy: rules[*networkingv1.IPAddress]{
			Validate: validateIPAddress,
			ValidateUpdate: func(a, old *networkingv1.IPAddress) field.ErrorList {
				return unchanged(a.Spec.ParentRef, old.Spec.ParentRef, specPath.Child("parentRef"))
			},
		}.full(Cluster, nameIsAddress),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("ParentRef", "string", doc(networkingv1.IPAddressSpec{}.SwaggerDoc())["parentRef"]),
			// The age has a cell, but no column.
		},
		Cells: cells(func(a *networkingv1.IPAddress, now time.Time) []any {
			text := none
			if r := a.Spec.ParentRef; r != nil {
				text = schema.GroupResource{Group: r.Group, Resource: r.Resource}.String()
				for _, p := range []string{r.Namespace, r.Name} {
					if p != "" {
						text += "/" + p
					}
				}
			}
			return []any{a.Name, text, age(a, now)}
		}),
	}
}

// nameIsAddress: the name is the address in its canonical form.
func nameIsAddress(name string, _ bool) []string {
	var why []string
	for _, err := range validation.IsValidIP(metadataPath.Child("name"), name) {
		why = append(why, err.Detail)
	}
	return why
}

func validateIPAddress(a *networkingv1.IPAddress) field.ErrorList {
	at, r := specPath.Child("parentRef"), a.Spec.ParentRef
	if r == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	if r.Group != "" {
		errs = append(errs, check(at.Child("group"), r.Group, validation.IsDNS1123Subdomain(r.Group))...)
	}
	for name, value := range inOrder(named("resource", r.Resource), named("name", r.Name)) {
		if value == "" {
			errs = append(errs, field.Required(at.Child(name), ""))
		} else {
			errs = append(errs, check(at.Child(name), value, nameIsSegment(value, false))...)
		}
	}
	if r.Namespace != "" {
		errs = append(errs, check(at.Child("namespace"), r.Namespace, nameIsSegment(r.Namespace, false))...)
	}
	return errs
}

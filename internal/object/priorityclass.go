package object

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The priorities that the system keeps for itself.
const (
	HighestUserPriority = int32(1000000000)
	systemPrefix        = "system-"
	clusterCritical     = "system-cluster-critical"
	nodeCritical        = "system-node-critical"
	clusterPriority     = 2 * HighestUserPriority
	nodePriority        = clusterPriority + 1000
)

func priorityClassKind() *Kind {
	d := doc(schedulingv1.PriorityClass{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[schedulingv1.PriorityClass, schedulingv1.PriorityClassList](schedulingv1.SchemeGroupVersion, "PriorityClass")},
		Resource:      "priorityclasses",
		Singular:      "priorityclass",
		ShortNames:    []string{"pc"},
		Scope:         Cluster,
		StoragePrefix: "priorityclasses",
		Strategy: rules[*schedulingv1.PriorityClass]{
			Default:        func(p *schedulingv1.PriorityClass) { setDefaultPtr(&p.PreemptionPolicy, corev1.PreemptLowerPriority) },
			PrepareCreate:  func(p *schedulingv1.PriorityClass) { firstGeneration(p) },
			ValidateCreate: validatePriorityClass,
			ValidateUpdate: func(p, old *schedulingv1.PriorityClass) field.ErrorList {
				var errs field.ErrorList
				if p.Value != old.Value {
					errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
				}
				return append(errs, immutable(p.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Value", "integer", d["value"]),
			column("Global-Default", "boolean", d["globalDefault"]),
			ageColumn(),
			column("PreemptionPolicy", "string", d["preemptionPolicy"]),
		},
		Cells: cells(func(p *schedulingv1.PriorityClass, now time.Time) []any {
			return []any{p.Name, int64(p.Value), p.GlobalDefault, age(p, now), string(deref(p.PreemptionPolicy, ""))}
		}),
	}
}

func validatePriorityClass(p *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(p.Name, systemPrefix) {
		known := p.Name == clusterCritical && p.Value == clusterPriority || p.Name == nodeCritical && p.Value == nodePriority
		if !known || p.GlobalDefault {
			errs = append(errs, field.Forbidden(metadataPath.Child("name"),
				fmt.Sprintf("priority class names with '%s' prefix are reserved for system use only. error: %s", systemPrefix, systemClassError(p))))
		}
	} else if p.Value > HighestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"),
			fmt.Sprintf("maximum allowed value of a user defined priority is %v", HighestUserPriority)))
	}
	if pp := p.PreemptionPolicy; pp != nil {
		errs = append(errs, requiredOneOf(field.NewPath("preemptionPolicy"), *pp, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

func systemClassError(p *schedulingv1.PriorityClass) string {
	switch {
	case p.Name != clusterCritical && p.Name != nodeCritical:
		return p.Name + " is not a known system priority class"
	case p.GlobalDefault:
		return "globalDefault of " + p.Name + " must be false"
	}
	return "value of " + p.Name + " is not the system's"
}

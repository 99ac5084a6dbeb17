package apply

import (
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"hyperkube/internal/object"
)

// resets are the fields that an endpoint writes back, so that nobody comes to own them through it: the status through the object itself, and
// through its status the rest, of which most kinds let metadata be written all the same.
func resets(k *object.Kind, sub string) []string {
	switch {
	case sub == "" && k.Hub().Group == "certificates.k8s.io" && k.Resource == "certificatesigningrequests":
		return []string{"spec", "status"}
	case sub == "" && k.Subresource("status") != nil:
		return []string{"status"}
	case sub != "status":
		return nil
	case k.Hub().Custom != nil || slices.Contains(aloneStatus, k.Hub().Group) || slices.Contains(aloneStatus, k.GroupResource().String()):
		return []string{"metadata", "spec"}
	case k.Hub().Group == "apps" && k.Resource == "deployments":
		return []string{"metadata.labels", "spec"}
	}
	return []string{"spec"}
}

// aloneStatus are groups, and single resources of others, that change by their status nothing but that.
var aloneStatus = []string{"apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io",
	"servicecidrs.networking.k8s.io", "volumeattachments.storage.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io"}

// resetFilter leaves out what an endpoint writes back; nil when that is nothing.
func resetFilter(k *object.Kind, sub string) fieldpath.Filter {
	all := fieldpath.NewSet()
	for _, path := range resets(k, sub) {
		var parts []any
		for part := range strings.SplitSeq(path, ".") {
			parts = append(parts, part)
		}
		all.Insert(fieldpath.MakePathOrDie(parts...))
	}
	if all.Empty() {
		return nil
	}
	return fieldpath.NewExcludeSetFilter(all)
}

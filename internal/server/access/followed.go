package access

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
)

// judgedBy are the kinds by which admission judges all other writes.
var judgedBy = []client.GVR{
	corev1.SchemeGroupVersion.WithResource("limitranges"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingadmissionpolicies"),
	admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingadmissionpolicybindings"),
}

// followPatience bounds how long the answer to a stored write may wait for admission to know of it: something is amiss then, and
// the write is not to blame.
const followPatience = 2 * time.Second

// followed has writes of rules answered when this server's admission goes by them: whoever has changed a webhook, a policy or
// a limit sees it applied to the next request. Other servers of the cluster follow a moment later.
func followed(informers *client.Informers) map[schema.GroupResource]func(context.Context, int64) {
	all := map[schema.GroupResource]func(context.Context, int64){}
	for _, r := range judgedBy {
		informer := informers.Any(r)
		all[r.GroupResource()] = func(ctx context.Context, revision int64) {
			if !informer.HasSynced() {
				return // a server that starts: nothing is judged before all rules are known
			}
			ctx, cancel := context.WithTimeout(ctx, followPatience)
			defer cancel()
			if err := informer.Reached(ctx, strconv.FormatInt(revision, 10)); err != nil {
				slog.Default().Debug("admission does not know of a stored write yet", "component", "apiserver", "resource", r.Resource, "revision", revision, "error", err)
			}
		}
	}
	return all
}

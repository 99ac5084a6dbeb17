package server

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
)

// keepServiceRange makes the ServiceCIDR "kubernetes" anew when somebody deletes it, and tells when it is not what the flag says.
func (s *Server) keepServiceRange(ctx context.Context) error {
	if len(s.cfg.ServiceCIDRs) == 0 {
		return nil
	}
	select {
	case <-s.started:
	case <-ctx.Done():
		return nil
	}
	c := s.Direct(loopback())
	events := client.NewRecorder(ctx, c, "default-servicecidr-controller", "")
	changed := make(chan struct{}, 1)
	f := client.NewInformers(c)
	client.InformerWith(f, client.ServiceCIDRs, client.Select{Fields: "metadata.name=" + kubernetes}).OnChange(func(_, _ *networkingv1.ServiceCIDR) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	f.Start(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if retry(ctx, func() error { return s.serviceRange(ctx, c, events) }) != nil {
			return nil
		}
	}
}

// serviceRange makes the ServiceCIDR "kubernetes", which tells everybody from which range services get their addresses. One of a single
// family gets the second when the flag has it; any other difference is somebody's wish, and only told.
func (s *Server) serviceRange(ctx context.Context, c client.Interface, events record.EventRecorder) error {
	var want []string
	for _, r := range s.cfg.ServiceCIDRs {
		want = append(want, r.String())
	}
	if len(want) == 0 {
		return nil
	}
	cur, err := client.ServiceCIDRs.Get(ctx, c, "", kubernetes)
	if apierrors.IsNotFound(err) {
		cur, err = client.ServiceCIDRs.Create(ctx, c, &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: kubernetes}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: want},
		})
	}
	if err != nil || cur.DeletionTimestamp != nil {
		return err
	}
	if len(cur.Spec.CIDRs) == 1 && len(want) == 2 && cur.Spec.CIDRs[0] == want[0] {
		next := cur.DeepCopy()
		next.Spec.CIDRs = want
		if cur, err = client.ServiceCIDRs.Update(ctx, c, next); err != nil {
			return err
		}
	}
	if !slices.Equal(cur.Spec.CIDRs, want) {
		if events != nil {
			events.Eventf(cur, corev1.EventTypeWarning, "KubernetesDefaultServiceCIDRInconsistent",
				"The default ServiceCIDR %v does not match the flag configurations %s", cur.Spec.CIDRs, strings.Join(want, ","))
		}
		return nil
	}
	if len(cur.Status.Conditions) > 0 {
		return nil
	}
	next := cur.DeepCopy()
	meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue, Message: "Kubernetes default Service CIDR is ready",
		LastTransitionTime: metav1.NewTime(time.Now().Truncate(time.Second)),
	})
	_, err = client.ServiceCIDRs.UpdateStatus(ctx, c, next)
	if apierrors.IsConflict(err) { // told of by the watch
		return nil
	}
	return err
}

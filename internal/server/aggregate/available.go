package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"hyperkube/internal/client"
)

type condition = apiregistrationv1.APIServiceCondition

func localCondition() condition {
	return condition{Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, Reason: "Local", Message: "Local APIServices are always available"}
}

func unavailable(reason, format string, args ...any) condition {
	return condition{Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionFalse, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// judge finds out whether the server of an APIService can be asked, and asks it. The error says why it cannot.
func (a *Aggregator) judge(ctx context.Context, s *apiregistrationv1.APIService, r *remote) (condition, error) {
	cond, ok, err := a.judgeService(ctx, s)
	if err != nil {
		return unavailable("ServiceAccessError", "service/%s in %q cannot be checked due to: %v", s.Spec.Service.Name, s.Spec.Service.Namespace, err), err
	}
	if !ok {
		return cond, errors.New(cond.Message)
	}
	if err := r.ask(ctx); err != nil {
		return unavailable("FailedDiscoveryCheck", "%v", err), err
	}
	return condition{Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, Reason: "Passed", Message: "all checks passed"}, nil
}

// judgeService checks that the service is there, listens on the port and has endpoints.
func (a *Aggregator) judgeService(ctx context.Context, s *apiregistrationv1.APIService) (condition, bool, error) {
	ref := s.Spec.Service
	svc, err := client.Services.Get(ctx, a.cfg.API, ref.Namespace, ref.Name)
	if apierrors.IsNotFound(err) {
		return unavailable("ServiceNotFound", "service/%s in %q is not present", ref.Name, ref.Namespace), false, nil
	}
	if err != nil {
		return condition{}, false, err
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return condition{}, true, nil // asked under its name
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port(ref) })
	if i < 0 {
		return unavailable("ServicePortError", "service/%s in %q is not listening on port %d", ref.Name, ref.Namespace, port(ref)), false, nil
	}
	list, _, err := client.EndpointSlices.List(ctx, a.cfg.API, ref.Namespace,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + ref.Name, ResourceVersion: "0"})
	if err != nil {
		return condition{}, false, err
	}
	if len(list) == 0 {
		return unavailable("EndpointsNotFound", "cannot find endpointslices for service/%s in %q", ref.Name, ref.Namespace), false, nil
	}
	if !slices.ContainsFunc(list, func(e *discoveryv1.EndpointSlice) bool { return hasReady(e, svc.Spec.Ports[i].Name) }) {
		return unavailable("MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", ref.Name, ref.Namespace, svc.Spec.Ports[i].Name), false, nil
	}
	return condition{}, true, nil
}

func hasReady(e *discoveryv1.EndpointSlice, portName string) bool {
	return slices.ContainsFunc(e.Ports, func(p discoveryv1.EndpointPort) bool {
		return p.Port != nil && (p.Name == nil && portName == "" || p.Name != nil && *p.Name == portName)
	}) && slices.ContainsFunc(e.Endpoints, func(p discoveryv1.Endpoint) bool {
		return len(p.Addresses) > 0 && (p.Conditions.Ready == nil || *p.Conditions.Ready)
	})
}

func port(ref *apiregistrationv1.ServiceReference) int32 {
	if ref.Port == nil {
		return 443
	}
	return *ref.Port
}

// tell writes the condition, when it says something new.
func (a *Aggregator) tell(ctx context.Context, s *apiregistrationv1.APIService, cond condition) error {
	next := s.DeepCopy()
	i := slices.IndexFunc(next.Status.Conditions, func(c condition) bool { return c.Type == cond.Type })
	cond.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	if i < 0 {
		next.Status.Conditions = append(next.Status.Conditions, cond)
	} else {
		old := next.Status.Conditions[i]
		if old.Status == cond.Status {
			cond.LastTransitionTime = old.LastTransitionTime
		}
		if old == cond {
			return nil
		}
		next.Status.Conditions[i] = cond
	}
	_, err := apiServices.UpdateStatus(ctx, a.cfg.API, next)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

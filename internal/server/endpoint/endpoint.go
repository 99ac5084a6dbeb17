// Package endpoint finds the pods behind a service, for an API server that calls services itself (proxying, webhooks) on machines
// where no service proxy need run.
package endpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// Choose finds a ready endpoint of a service's port, given by name or number; with one port it may be
// left out.
func Choose(ctx context.Context, c client.Interface, namespace, name, port string) (string, error) {
	svc, err := client.Services.Get(ctx, c, namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	case err != nil:
		return "", err
	}
	portName, ok := servicePort(svc, port)
	if !ok {
		if _, err := strconv.Atoi(port); err != nil {
			port = strconv.Quote(port)
		}
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %s found for service %q", port, name))
	}
	slices, _, err := client.EndpointSlices.List(ctx, c, namespace, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name, ResourceVersion: "0"})
	if err != nil {
		return "", err
	}
	var ready []string
	for _, slice := range slices {
		for _, p := range slice.Ports {
			if p.Port == nil || (p.Name != nil && *p.Name != portName) || (p.Name == nil && portName != "") {
				continue
			}
			for _, e := range slice.Endpoints {
				if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					ready = append(ready, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	if len(ready) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	return ready[rand.IntN(len(ready))], nil
}

func servicePort(svc *corev1.Service, port string) (name string, ok bool) {
	for _, p := range svc.Spec.Ports {
		if (port == "" && len(svc.Spec.Ports) == 1) || (port != "" && p.Name == port) || strconv.Itoa(int(p.Port)) == port {
			return p.Name, true
		}
	}
	return "", false
}

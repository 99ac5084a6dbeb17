package load

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pair makes an EndpointSlice of one address and the service that it belongs to, and gives the service's cluster IP.
func Pair(ctx context.Context, a *API, namespace string, n int, address string, port int32) (string, error) {
	name := fmt.Sprintf("svc-%05d", n)
	yes, tcp, portName := true, corev1.ProtocolTCP, "http"
	err := a.Create(ctx, EndpointSlices, namespace, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &tcp}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
	})
	if err != nil {
		return "", err
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: 80, TargetPort: intstr.FromInt32(port)}}},
	}
	var made corev1.Service
	if err := a.rest.Post().AbsPath(Services.Path(namespace, "")).Body(service).Do(ctx).Into(&made); err != nil {
		return "", err
	}
	return made.Spec.ClusterIP, nil
}

// NodeAt is a hollow node with a name and an address.
func NodeAt(name, address string) *corev1.Node {
	n := HollowNode(0)
	n.Name = name
	n.Labels[HostLabel] = name
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeHostName, Address: name}}
	return n
}

package endpoint

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestServicePort(t *testing.T) {
	svc := &corev1.Service{}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "web", Port: 80}, {Name: "admin", Port: 81}}
	for port, want := range map[string]string{"web": "web", "81": "admin"} {
		if got, ok := servicePort(svc, port); got != want || !ok {
			t.Errorf("%q: %q %v", port, got, ok)
		}
	}
	for _, port := range []string{"", "82", "nope"} {
		if got, ok := servicePort(svc, port); ok {
			t.Errorf("%q: found %q", port, got)
		}
	}
}

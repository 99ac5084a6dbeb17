package env

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/node/downward"
)

func TestExpand(t *testing.T) {
	vars := Lookup(map[string]string{"A": "1", "B": "$(A)", "": "empty"})
	for in, want := range map[string]string{
		"plain": "plain", "$(A)": "1", "x$(A)y$(B)z": "x1y$(A)z", "$$(A)": "$(A)", "$$$(A)": "$1",
		"$(NO)": "$(NO)", "$(A": "$(A", "$": "$", "a$": "a$", "$x": "$x", "$$": "$", "$(A)$(A)": "11",
	} {
		if got := Expand(in, vars); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
}

type objects struct {
	cm  map[string]*corev1.ConfigMap
	sec map[string]*corev1.Secret
}

func (o objects) ConfigMap(_, n string) (*corev1.ConfigMap, error) {
	if c := o.cm[n]; c != nil {
		return c, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, n)
}

func (o objects) Secret(_, n string) (*corev1.Secret, error) {
	if s := o.sec[n]; s != nil {
		return s, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, n)
}

func TestBuild(t *testing.T) {
	yes := true
	o := objects{
		cm:  map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": "cm-a", "b": "cm-b"}}},
		sec: map[string]*corev1.Secret{"s": {Data: map[string][]byte{"k": []byte("v")}}},
	}
	in := Inputs{
		Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns"}},
		Container: &corev1.Container{
			EnvFrom: []corev1.EnvFromSource{
				{Prefix: "p_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}},
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: &yes}},
			},
			Env: []corev1.EnvVar{
				{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
				{Name: "LATE", Value: "$(X)"},
				{Name: "X", Value: "$(NAME)-$(p_a)-$(SVC)"},
				{Name: "p_b", Value: "own"},
				{Name: "OPT", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "no", Optional: &yes}}},
				{Name: "K", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "k"}}},
				{Name: "F", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: "f", Key: "Q"}}},
			},
		},
		Facts: downward.Facts{}, Objects: o, Services: map[string]string{"SVC": "10.0.0.1", "NAME": "hidden"},
		File: func(v, p string) ([]byte, error) { return []byte("# c\nQ='two\nlines' \nR='x'\n"), nil },
	}
	got, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []Var{{"p_a", "cm-a"}, {"p_b", "own"}, {"NAME", "p"}, {"LATE", "$(X)"}, {"X", "p-cm-a-10.0.0.1"},
		{"K", "v"}, {"F", "two\nlines"}, {"SVC", "10.0.0.1"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	in.Container.Env = []corev1.EnvVar{{Name: "M", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "zz"}}}}
	if _, err := Build(in); err == nil || err.Error() != "couldn't find key zz in ConfigMap ns/cm" {
		t.Errorf("missing key: %v", err)
	}
}

func TestServices(t *testing.T) {
	svc := func(ns, name, ip string, ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	all := []*corev1.Service{
		svc("default", "kubernetes", "10.96.0.1", corev1.ServicePort{Name: "https", Port: 443, Protocol: "TCP"}),
		svc("ns", "my-db", "fd00::5", corev1.ServicePort{Port: 53, Protocol: "UDP"}),
		svc("ns", "headless", "None", corev1.ServicePort{Port: 1}),
		svc("other", "x", "10.96.0.9", corev1.ServicePort{Port: 1}),
	}
	got := Services(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}}, all)
	want := map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"KUBERNETES_PORT": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
		"KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
		"MY_DB_SERVICE_HOST": "fd00::5", "MY_DB_SERVICE_PORT": "53", "MY_DB_PORT": "udp://[fd00::5]:53", "MY_DB_PORT_53_UDP": "udp://[fd00::5]:53",
		"MY_DB_PORT_53_UDP_PROTO": "udp", "MY_DB_PORT_53_UDP_PORT": "53", "MY_DB_PORT_53_UDP_ADDR": "fd00::5",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	no := false
	if n := len(Services(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: corev1.PodSpec{EnableServiceLinks: &no}}, all)); n != 8 {
		t.Errorf("without links: %d variables, want those of kubernetes only", n)
	}
}

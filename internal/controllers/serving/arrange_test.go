package serving

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object"
)

func endpoint(n int) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{fmt.Sprintf("10.0.0.%d", n)},
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
		TargetRef:  &corev1.ObjectReference{UID: types.UID(fmt.Sprint(n))},
	}
}

func endpoints(ns ...int) (out []discoveryv1.Endpoint) {
	for _, n := range ns {
		out = append(out, endpoint(n))
	}
	return out
}

func port(n int32) []discoveryv1.EndpointPort {
	return []discoveryv1.EndpointPort{{Name: ptr.To("p"), Port: &n, Protocol: ptr.To(corev1.ProtocolTCP)}}
}

func slice(name string, p int32, ns ...int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"shape": "right"}}, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints(ns...),
	}
	if p > 0 {
		s.Ports = port(p)
	}
	return s
}

func TestArrange(t *testing.T) {
	group := func(p int32, ns ...int) Group {
		g := Group{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints(ns...)}
		if p > 0 {
			g.Ports = port(p)
		}
		return g
	}
	have := func(s ...*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice { return s }
	bent := slice("a", 1, 1)
	bent.Labels["shape"] = "wrong"
	for name, c := range map[string]struct {
		have []*discoveryv1.EndpointSlice
		want []Group
		plan string
	}{
		"nothing there":                     {nil, []Group{group(1, 1, 2)}, "create:1,2"},
		"a service without pods":            {nil, []Group{group(0)}, "create:"},
		"… has its empty slice already":     {have(slice("a", 0)), []Group{group(0)}, ""},
		"the empty slice is filled":         {have(slice("a", 0)), []Group{group(1, 1)}, "update a:1"},
		"all went":                          {have(slice("a", 1, 1, 2)), []Group{group(0)}, "update a:"},
		"nothing changed":                   {have(slice("a", 1, 2, 1)), []Group{group(1, 1, 2)}, ""},
		"one comes":                         {have(slice("a", 1, 1)), []Group{group(1, 1, 2)}, "update a:1,2"},
		"one goes":                          {have(slice("a", 1, 1, 2)), []Group{group(1, 2)}, "update a:2"},
		"one goes, one comes: one write":    {have(slice("a", 1, 1, 2, 3), slice("b", 1, 4)), []Group{group(1, 1, 2, 4, 5)}, "update a:1,2,5"},
		"the fullest with room":             {have(slice("a", 1, 1), slice("b", 1, 2, 3)), []Group{group(1, 1, 2, 3, 4)}, "update b:2,3,4"},
		"no room":                           {have(slice("a", 1, 1, 2, 3)), []Group{group(1, 1, 2, 3, 4)}, "create:4"},
		"full ones and a rest":              {nil, []Group{group(1, 1, 2, 3, 4, 5, 6, 7)}, "create:1,2,3 create:4,5,6 create:7"},
		"the rest goes where there is room": {have(slice("a", 1, 1, 2)), []Group{group(1, 1, 2, 3, 4, 5, 6)}, "create:3,4,5 update a:1,2,6"},
		"empty ones go":                     {have(slice("a", 1, 1), slice("b", 1, 2)), []Group{group(1, 2)}, "delete a"},
		"two port sets":                     {nil, []Group{group(1, 1), group(2, 2)}, "create:1 create:2"},
		"a port changes":                    {have(slice("a", 1, 1)), []Group{group(2, 1)}, "update a:1"},
		"labels change":                     {have(bent), []Group{group(1, 1)}, "update a:1"},
		"nothing is wanted":                 {have(slice("a", 1, 1)), nil, "delete a"},
		"too full":                          {have(slice("a", 1, 1, 2, 3, 4)), []Group{group(1, 1, 2, 3, 4)}, "create:4 update a:1,2,3"},
	} {
		p := Arrange(c.have, c.want, 3, func(s *discoveryv1.EndpointSlice) { s.Labels = map[string]string{"shape": "right"} })
		require.Equal(t, c.plan, describe(p), name)
	}
}

func describe(p Plan) string {
	var out []string
	add := func(what string, s *discoveryv1.EndpointSlice) {
		var ns []string
		for _, e := range s.Endpoints {
			ns = append(ns, strings.TrimPrefix(e.Addresses[0], "10.0.0."))
		}
		out = append(out, what+":"+strings.Join(ns, ","))
	}
	for _, s := range p.Create {
		add("create", s)
	}
	for _, s := range p.Update {
		add("update "+s.Name, s)
	}
	for _, s := range p.Delete {
		out = append(out, "delete "+s.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestTracker(t *testing.T) {
	now := time.Unix(0, 0)
	key := object.Key{Name: "s"}
	at := func(uid, version string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}}
	}
	k := NewTracker()
	k.Wrote(key, at("a", "10"), now)
	require.True(t, k.Behind(key, nil, now), "not yet seen")
	require.True(t, k.Behind(key, []*discoveryv1.EndpointSlice{at("a", "9")}, now), "an older version")
	require.False(t, k.Behind(key, []*discoveryv1.EndpointSlice{at("a", "11")}, now))
	k.Removed(key, at("a", "11"), now)
	require.True(t, k.Behind(key, []*discoveryv1.EndpointSlice{at("a", "11")}, now), "still there")
	require.False(t, k.Behind(key, nil, now))
	k.Wrote(key, at("b", "12"), now)
	k.Vanished(key, "b")
	require.False(t, k.Behind(key, nil, now), "made and deleted again")
	k.Wrote(key, at("c", "13"), now)
	require.False(t, k.Behind(key, nil, now.Add(TrackFor+1)), "not for ever")
}

func TestPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "once", ContainerPort: 1}}},
			{RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "side", ContainerPort: 2}}},
		},
		Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 3, Protocol: corev1.ProtocolTCP}, {Name: "dns", ContainerPort: 4, Protocol: corev1.ProtocolUDP}}}},
	}}
	for name, want := range map[string]int32{"web": 3, "side": 2, "once": 0, "dns": 0, "none": 0} {
		n, ok := Port(pod, &corev1.ServicePort{TargetPort: intstr.FromString(name)})
		require.Equal(t, want, n, name)
		require.Equal(t, want > 0, ok, name)
	}
	n, _ := Port(pod, &corev1.ServicePort{TargetPort: intstr.FromString("dns"), Protocol: corev1.ProtocolUDP})
	require.Equal(t, int32(4), n)
}

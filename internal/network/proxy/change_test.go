package proxy

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/nettest"
)

// draining makes the pods endpoints that end but still serve.
func draining(s state, pods ...int) state {
	for _, i := range pods {
		s.slices[0].Endpoints = append(s.slices[0].Endpoints, discoveryv1.Endpoint{Addresses: []string{podIP(i)}, NodeName: ptr.To("elsewhere"),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}})
	}
	return s
}

// TestNoConnectionFailsWhileEndpointsChange rolls a service over its pods again and again, partly and with a full write, while
// clients connect to it without a pause: rules change from one moment to the next, never through a state in which a
// packet finds none. A connection that is there stays, whoever the endpoints are.
func TestNoConnectionFailsWhileEndpointsChange(t *testing.T) {
	w := newWorld(t)
	for i := range w.pods {
		echo(t, w.pods[i], podIP(i)+":8081")
	}
	second := func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "e", Port: 81, NodePort: 30082, Protocol: corev1.ProtocolTCP})
	}
	step := func(ready, ending []int) state {
		s := draining(service(ready, second), ending...)
		s.slices[0].Ports = append(s.slices[0].Ports, discoveryv1.EndpointPort{Name: ptr.To("e"), Port: ptr.To[int32](8081), Protocol: ptr.To(corev1.ProtocolTCP)})
		return s
	}
	steps := []state{
		step([]int{0}, nil), step([]int{0, 1}, nil), step([]int{1}, []int{0}), step([]int{1, 2}, nil), step([]int{2}, []int{1}),
		step(nil, []int{2}), step([]int{0}, []int{2}), step([]int{0, 1, 2}, nil),
	}
	w.update(steps[0])
	var kept net.Conn
	require.NoError(t, w.client.Do(func() (err error) { kept, err = net.Dial("tcp", nodeIP+":30082"); return err }))
	defer kept.Close()

	var asked atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for to, from := range map[string]*nettest.NS{nodeIP + ":30080": w.client, clusterIP + ":80": w.pods[0], "127.0.0.1:30080": w.node} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := w.ask(from, "tcp", to); err != nil {
					t.Errorf("%s after %d connections: %v", to, asked.Load(), err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for round := range 5 {
		for _, s := range steps {
			w.update(s)
			require.NoError(t, kept.SetDeadline(time.Now().Add(5*time.Second)))
			_, err := kept.Write([]byte{1})
			require.NoError(t, err)
			_, err = io.ReadFull(kept, make([]byte, 1))
			require.NoError(t, err, "the connection that was there before, in round %d", round)
		}
		w.full(steps[len(steps)-1])
	}
	close(stop)
	wg.Wait()
	t.Logf("%d connections", asked.Load())
	require.Greater(t, asked.Load(), int64(40))
}

// echo gives back what comes over a connection, for as long as the connection lasts.
func echo(t *testing.T, in *nettest.NS, address string) {
	t.Helper()
	var l net.Listener
	require.NoError(t, in.Do(func() (err error) { l, err = net.Listen("tcp", address); return err }))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// TestRulesOfManyEndpointsAreBrief grows a table over the number from which on comments are left out, and shrinks it again.
func TestRulesOfManyEndpointsAreBrief(t *testing.T) {
	nettest.Need(t)
	ctx := t.Context()
	tools, err := apply.Detect(ctx, apply.IPv4)
	require.NoError(t, err)
	table, big := newTable(tools, slog.Default()), benchState(1)
	write := func(endpoints int) {
		big = benchState(1)
		for i := range endpoints {
			big.slices[0].Endpoints = append(big.slices[0].Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", i>>8, i&255)}})
		}
		_, err := table.update(ctx, []state{big})
		require.NoError(t, err)
	}
	comments := func() int {
		saved, err := tools.Save(ctx, "nat")
		require.NoError(t, err)
		return bytes.Count(saved, []byte(`--comment "bench/svc-1:http"`))
	}
	full := func() {
		_, err := table.full(ctx, benchConfig(), []state{big, benchState(2, "10.245.0.1")})
		require.NoError(t, err)
		require.False(t, table.outgrown(), "a full write finds the form for good")
		d, _, err := table.plan(ctx, benchConfig(), []state{big, benchState(2, "10.245.0.1")})
		require.NoError(t, err)
		require.True(t, d.Empty(), "rules are written as the tools print them")
	}
	full()
	write(many - 1)
	require.False(t, table.outgrown())
	write(many)
	require.True(t, table.outgrown())
	require.NotZero(t, comments())
	full()
	require.Zero(t, comments())
	write(many/2 + 1)
	require.False(t, table.outgrown(), "the form does not change to and fro")
	write(many / 2)
	require.False(t, table.outgrown())
	write(many/2 - 1)
	require.True(t, table.outgrown())
	full()
	require.NotZero(t, comments())
	require.NoError(t, Cleanup(ctx))
}

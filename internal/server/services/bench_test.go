package services_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/server/services"
)

// BenchmarkServices creates services, many at once, with a cluster IP and without: the difference is what an address costs.
func BenchmarkServices(b *testing.B) {
	api := servertest.Start(b, func(cfg *server.Config) {
		cidrs, ports := cfg.ServiceCIDRs, cfg.NodePortRange
		cfg.Wire = func(c client.Interface, p *server.Parts) error {
			a, err := services.New(c, cidrs, ports)
			if err != nil {
				return err
			}
			p.Hooks = map[schema.GroupResource]server.WriteHook{client.Services.GVR.GroupResource(): a.Hook}
			p.Background = append(p.Background, a.Run)
			return nil
		}
	})
	admin := api.Admin()
	var n atomic.Int64
	for name, ip := range map[string]string{"address": "", "headless": corev1.ClusterIPNone} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s := &corev1.Service{
						ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("s-%d", n.Add(1))},
						Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}},
					}
					if _, err := client.Services.Create(context.Background(), admin, s); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

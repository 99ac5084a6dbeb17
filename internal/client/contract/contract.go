// Package contract is what every implementation of client.Interface must do: one suite, run through the
// direct door and over REST against a real server.
package contract

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// Run holds c to the contract. c needs all rights on a server that was just started.
func Run(t *testing.T, c client.Interface) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"life of an object", lifeOfAnObject},
		{"generated names", generatedNames},
		{"conflicts", conflicts},
		{"many writers", manyWriters},
		{"preconditions", preconditions},
		{"dry runs", dryRuns},
		{"patches", patches},
		{"pages", pages},
		{"selectors", selectors},
		{"watch", watches},
		{"watch with initial events", watchList},
		{"watch from the past", watchFromThePast},
		{"finalizers", finalizers},
		{"delete a collection", deleteCollection},
		{"mistakes", mistakes},
		{"versions of a kind", versionsOfAKind},
		{"resources", resources},
		{"documents", documents},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			s := &suite{T: t, c: c, ctx: ctx, ns: "contract-" + strings.ReplaceAll(test.name, " ", "-")}
			if _, err := client.Namespaces.Create(ctx, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.ns}}); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
			test.run(t, s)
		})
	}
}

type suite struct {
	*testing.T
	c   client.Interface
	ctx context.Context
	ns  string
}

func (s *suite) configMap(name string, data ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.ns}, Data: map[string]string{}}
	for i := 0; i+1 < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	return cm
}

func (s *suite) create(cm *corev1.ConfigMap) *corev1.ConfigMap {
	s.Helper()
	got, err := client.ConfigMaps.Create(s.ctx, s.c, cm)
	if err != nil {
		s.Fatalf("create %s: %v", cm.Name, err)
	}
	return got
}

func (s *suite) want(err error, is func(error) bool, what string) {
	s.Helper()
	if !is(err) {
		s.Fatalf("got %v, want %s", err, what)
	}
}

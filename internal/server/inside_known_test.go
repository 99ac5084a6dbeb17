package server_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
	"hyperkube/internal/server/servertest"
)

func TestOwnPartsKnowObjects(t *testing.T) {
	var own client.Interface
	api := servertest.Start(t, func(c *server.Config) {
		c.Wire = func(c client.Interface, _ *server.Parts) error {
			own = c
			return nil
		}
	})
	knowing, ok := own.(client.Knowing)
	if !ok {
		t.Fatal("the server's own parts have to ask as others do")
	}
	if _, ok := api.Direct(&user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}).(client.Knowing); ok {
		t.Error("others may look past authorization and audit")
	}
	ctx := t.Context()
	_, err := client.ConfigMaps.Create(ctx, api.Admin(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}, Data: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := client.ConfigMaps.Get(ctx, own, "default", "a") // the cache has it from here on
	if err != nil {
		t.Fatal(err)
	}
	got, err := knowing.Known(ctx, client.ConfigMaps.GVR, "default", "a")
	if err != nil || got.GetUID() != newest.UID {
		t.Errorf("known is %v (%v), want %v", got, err, newest)
	}
	if _, err := knowing.Known(ctx, client.ConfigMaps.GVR, "default", "b"); !apierrors.IsNotFound(err) {
		t.Errorf("the error for what is not there is %v", err)
	}
	odd := client.ConfigMaps.GVR
	odd.Resource = "oddmaps"
	if _, err := knowing.Known(ctx, odd, "default", "b"); err == nil {
		t.Error("a resource that is not served is known")
	}
}

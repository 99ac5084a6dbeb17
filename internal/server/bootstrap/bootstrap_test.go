package bootstrap

import (
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/apitest"
)

func TestRunMakesEverythingOnce(t *testing.T) {
	api := apitest.New(nil)
	cfg := Config{Authentication: &Authentication{ClientCA: []byte("ca"), FrontProxyCA: []byte("front"), AllowedNames: []string{"front-proxy-client"}}}
	b := New(api, cfg)
	require.Error(t, b.Ready(t.Context()))
	require.NoError(t, b.Run(t.Context()))
	require.NoError(t, b.Ready(t.Context()))
	for _, ns := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		_, err := client.Namespaces.Get(t.Context(), api, "", ns)
		require.NoError(t, err)
	}
	pc, err := client.PriorityClasses.Get(t.Context(), api, "", "system-node-critical")
	require.NoError(t, err)
	require.Equal(t, int32(2000001000), pc.Value)
	cm, err := client.ConfigMaps.Get(t.Context(), api, "kube-system", "extension-apiserver-authentication")
	require.NoError(t, err)
	require.Equal(t, `["front-proxy-client"]`, cm.Data["requestheader-allowed-names"])
	require.Equal(t, `["X-Remote-Extra-"]`, cm.Data["requestheader-extra-headers-prefix"])
	admin, err := client.ClusterRoles.Get(t.Context(), api, "", "admin")
	require.NoError(t, err)
	require.NotEmpty(t, admin.Rules, "aggregated roles work before their controller runs")

	writes := api.Writes
	require.NoError(t, New(api, cfg).Run(t.Context()))
	require.Equal(t, writes, api.Writes, "a second start writes nothing")
}

func TestRunPutsBackWhatLacks(t *testing.T) {
	api := apitest.New(nil)
	require.NoError(t, New(api, Config{}).Run(t.Context()))
	spoil := func(name, auto string) {
		r, err := client.ClusterRoles.Get(t.Context(), api, "", name)
		require.NoError(t, err)
		r = r.DeepCopy()
		r.Rules = r.Rules[:1]
		r.Annotations[rbacv1.AutoUpdateAnnotationKey] = auto
		api.Put(client.ClusterRoles.GVR, r)
	}
	spoil("system:kube-scheduler", "true")
	spoil("system:node-proxier", "false")
	api.Drop(client.RoleBindings.GVR, "kube-system", "system:controller:cluster-dns-controller")
	require.NoError(t, New(api, Config{}).Run(t.Context()))
	r, err := client.ClusterRoles.Get(t.Context(), api, "", "system:kube-scheduler")
	require.NoError(t, err)
	require.Greater(t, len(r.Rules), 1)
	r, err = client.ClusterRoles.Get(t.Context(), api, "", "system:node-proxier")
	require.NoError(t, err)
	require.Len(t, r.Rules, 1)
	_, err = client.RoleBindings.Get(t.Context(), api, "kube-system", "system:controller:cluster-dns-controller")
	require.NoError(t, err)
}

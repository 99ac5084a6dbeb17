package controllermanager_test

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/server/servertest"
)

var (
	apiServices = client.Resource[*apiregistrationv1.APIService]{GVR: apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")}
	definitions = client.Resource[*apiextensionsv1.CustomResourceDefinition]{GVR: apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")}
	flunders    = client.GVR{Group: "wardle.example.com", Version: "v1", Resource: "flunders"}
)

// TestAggregated has a kind that another API server keeps: its objects go with their owner, and with their namespace.
func TestAggregated(t *testing.T) {
	c := start(t, nil)
	behind := extend(t, c)
	_, err := client.Namespaces.Create(c.ctx, c.admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}})
	require.NoError(t, err)
	owner, err := client.ConfigMaps.Create(c.ctx, c.admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "gone", Name: "owner"}})
	require.NoError(t, err)
	for name, owners := range map[string][]metav1.OwnerReference{
		"owned": {{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID}},
		"free":  nil,
	} {
		f := &unstructured.Unstructured{}
		f.SetGroupVersionKind(flunders.GroupVersion().WithKind("Flunder"))
		f.SetNamespace("gone")
		f.SetName(name)
		f.SetOwnerReferences(owners)
		_, err := c.admin.Create(c.ctx, flunders, f, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	missing := func(name string) func() bool {
		return func() bool {
			_, err := behind.Get(c.ctx, flunders, "gone", name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}
	}
	require.NoError(t, client.ConfigMaps.Delete(c.ctx, c.admin, "gone", "owner"))
	require.Eventually(t, missing("owned"), patience, 5*time.Millisecond, "the flunder outlives its owner")
	require.False(t, missing("free")(), "a flunder without an owner is gone")

	require.NoError(t, client.Namespaces.Delete(c.ctx, c.admin, "", "gone"))
	require.Eventually(t, missing("free"), patience, 5*time.Millisecond, "the flunder outlives its namespace")
	require.Eventually(t, func() bool {
		_, err := client.Namespaces.Get(c.ctx, c.admin, "", "gone")
		return apierrors.IsNotFound(err)
	}, patience, 5*time.Millisecond, "the namespace stays")
}

// extend starts a second API server with a kind of its own, and has the cluster's own hand requests for it on.
func extend(t *testing.T, c *cluster) client.Interface {
	api := servertest.Start(t, nil)
	behind := api.Admin()
	_, err := definitions.Create(c.ctx, behind, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "flunders.wardle.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: flunders.Group, Scope: "Namespaced", Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "flunders", Kind: "Flunder"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}}}},
		},
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := behind.List(c.ctx, flunders, "", metav1.ListOptions{})
		return err == nil
	}, patience, 5*time.Millisecond, "the other server does not serve its kind")
	u, err := url.Parse(api.REST.Host)
	require.NoError(t, err)
	port, err := strconv.ParseInt(u.Port(), 10, 32)
	require.NoError(t, err)
	number := int32(port)
	_, err = client.Services.Create(c.ctx, c.admin, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "wardle"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: u.Hostname()},
	})
	require.NoError(t, err)
	_, err = apiServices.Create(c.ctx, c.admin, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1." + flunders.Group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: flunders.Group, Version: flunders.Version, GroupPriorityMinimum: 2000, VersionPriority: 200, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "wardle", Port: &number},
		},
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := c.admin.List(c.ctx, flunders, "", metav1.ListOptions{})
		return err == nil
	}, patience, 5*time.Millisecond, "the cluster's server does not hand requests on")
	return behind
}

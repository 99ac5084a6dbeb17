package codec

import (
	"encoding/json"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// Upstream stores some kinds in versions that it serves no more, or that this server does not serve.
func TestOlderVersionsAreRead(t *testing.T) {
	table := object.Builtin()
	bundles, _ := table.Resource(schema.GroupVersionResource{Group: "certificates.k8s.io", Version: "v1", Resource: "clustertrustbundles"})
	old := &certificatesv1beta1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: certificatesv1beta1.ClusterTrustBundleSpec{TrustBundle: "PEM"}}
	raw, err := old.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	env, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "certificates.k8s.io/v1beta1", Kind: "ClusterTrustBundle"}, Raw: raw}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	old.TypeMeta = metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1beta1", Kind: "ClusterTrustBundle"}
	text, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{append([]byte("k8s\x00"), env...), text} {
		obj, err := DecodeStorage(bundles, data)
		if err != nil {
			t.Fatal(err)
		}
		b, ok := obj.(*certificatesv1.ClusterTrustBundle)
		if !ok || b.Name != "b" || b.Spec.TrustBundle != "PEM" || b.APIVersion != "certificates.k8s.io/v1" {
			t.Errorf("%+v", obj)
		}
	}

	crds, _ := table.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	obj, err := DecodeStorage(crds, []byte(`{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"pandas.bears.test"},
		"spec":{"group":"bears.test","version":"v1","names":{"plural":"pandas","kind":"Panda","singular":"panda","listKind":"PandaList"},"scope":"Namespaced",
		"validation":{"openAPIV3Schema":{"type":"object"}},"subresources":{"status":{}},"versions":[{"name":"v1","served":true,"storage":true}],
		"conversion":{"strategy":"None"},"preserveUnknownFields":false},"status":{"storedVersions":["v1"],"acceptedNames":{"plural":"pandas","kind":"Panda"},"conditions":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok || len(c.Spec.Versions) != 1 || c.Spec.Versions[0].Schema == nil || c.Spec.Versions[0].Subresources == nil || c.Spec.PreserveUnknownFields {
		t.Errorf("%+v", obj)
	}
}

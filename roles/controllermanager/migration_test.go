package controllermanager_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	migrationv1 "k8s.io/api/storagemigration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"hyperkube/internal/client"
	"hyperkube/internal/server"
)

var migrations = client.Resource[*migrationv1.StorageVersionMigration]{GVR: migrationv1.SchemeGroupVersion.WithResource("storageversionmigrations")}

// TestStorageMigration has objects stored in a version that is not the definition's any more: they are written anew, nothing else of them
// changes, and the definition forgets the version.
func TestStorageMigration(t *testing.T) {
	var store *clientv3.Client
	c := startOn(t, func(s *server.Config) { store = s.Etcd }, nil)
	crd := twoVersions("v1")
	_, err := definitions.Create(c.ctx, c.admin, crd)
	require.NoError(t, err)
	notes := client.GVR{Group: "example.com", Version: "v1", Resource: "notes"}
	awaitOne(t, c, definitions, "", crd.Name, func(d *apiextensionsv1.CustomResourceDefinition) error {
		_, err := c.admin.List(c.ctx, notes, "", metav1.ListOptions{})
		return err
	})
	before := map[string]int64{}
	for i := range 3 {
		n := &unstructured.Unstructured{Object: map[string]any{"text": fmt.Sprint(i)}}
		n.SetGroupVersionKind(notes.GroupVersion().WithKind("Note"))
		n.SetNamespace("default")
		n.SetName(fmt.Sprint("n", i))
		got, err := c.admin.Create(c.ctx, notes, n, metav1.CreateOptions{})
		require.NoError(t, err)
		before[got.GetName()] = got.GetGeneration()
	}
	_, err = definitions.Modify(c.ctx, c.admin, "", crd.Name, func(d *apiextensionsv1.CustomResourceDefinition) bool {
		d.Spec = twoVersions("v2").Spec
		return true
	})
	require.NoError(t, err)
	stored := func() (versions []string) {
		res, err := store.Get(c.ctx, "/registry/example.com/notes/", clientv3.WithPrefix())
		require.NoError(t, err)
		for _, kv := range res.Kvs {
			_, rest, _ := strings.Cut(string(kv.Value), `"apiVersion":"example.com/`)
			v, _, _ := strings.Cut(rest, `"`)
			versions = append(versions, v)
		}
		return versions
	}
	require.Equal(t, []string{"v1", "v1", "v1"}, stored())

	c.migrate(t, "notes", metav1.GroupResource{Group: "example.com", Resource: "notes"}, migrationv1.MigrationSucceeded)
	require.Equal(t, []string{"v2", "v2", "v2"}, stored())
	got, err := definitions.Get(c.ctx, c.admin, "", crd.Name)
	require.NoError(t, err)
	require.Equal(t, []string{"v2"}, got.Status.StoredVersions)
	l, err := c.admin.List(c.ctx, notes, "", metav1.ListOptions{})
	require.NoError(t, err)
	for _, o := range l.Items {
		require.Equal(t, before[o.GetName()], o.GetGeneration())
	}

	c.migrate(t, "nothing", metav1.GroupResource{Group: "example.com", Resource: "nothings"}, migrationv1.MigrationFailed)
}

func (c *cluster) migrate(t *testing.T, name string, r metav1.GroupResource, want migrationv1.MigrationConditionType) {
	t.Helper()
	_, err := migrations.Create(c.ctx, c.admin, &migrationv1.StorageVersionMigration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: migrationv1.StorageVersionMigrationSpec{Resource: r},
	})
	require.NoError(t, err)
	awaitOne(t, c, migrations, "", name, func(m *migrationv1.StorageVersionMigration) error {
		if !meta.IsStatusConditionTrue(m.Status.Conditions, string(want)) {
			return fmt.Errorf("not %s: %+v", want, m.Status)
		}
		return nil
	})
}

func twoVersions(stored string) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "notes.example.com"}, Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: "Namespaced", Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "notes", Singular: "note", Kind: "Note", ListKind: "NoteList"},
		Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
	}}
	keep := true
	for _, v := range []string{"v1", "v2"} {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{Name: v, Served: true, Storage: v == stored,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}}})
	}
	return crd
}

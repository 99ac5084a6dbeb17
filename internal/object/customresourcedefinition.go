package object

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type crd = apiextensionsv1.CustomResourceDefinition

func customResourceDefinitionKind() *Kind {
	return &Kind{
		Versions: []Version{version[crd, apiextensionsv1.CustomResourceDefinitionList](
			apiextensionsv1.SchemeGroupVersion, "CustomResourceDefinition")},
		Resource:      "customresourcedefinitions",
		Singular:      "customresourcedefinition",
		ShortNames:    []string{"crd", "crds"},
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions",
		Older:         map[string]func([]byte) (Object, error){"v1beta1": readOldCRD},
		Strategy: rules[*crd]{
			Default: func(c *crd) {
				apiextensionsv1.SetDefaults_CustomResourceDefinition(c)
				apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&c.Spec)
				if w := c.Spec.Conversion; w != nil && w.Webhook != nil && w.Webhook.ClientConfig != nil && w.Webhook.ClientConfig.Service != nil {
					apiextensionsv1.SetDefaults_ServiceReference(w.Webhook.ClientConfig.Service)
				}
			},
			PrepareCreate: func(c *crd) {
				c.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
				firstGeneration(c)
				noteStorageVersion(c)
			},
			PrepareUpdate: func(c, old *crd) {
				c.Status = *old.Status.DeepCopy()
				nextGeneration(c, old, c.Spec, old.Spec)
				noteStorageVersion(c)
			},
			Name:           crdNameRule,
			Validate:       validateCRD,
			ValidateCreate: validateNewCRD,
			ValidateUpdate: validateCRDUpdate,
		}.full(Cluster, nameIsSubdomain),
		BeginDelete: beginDeleteCRD,
		Subresources: []Subresource{writes("status", rules[*crd]{
			PrepareUpdate: func(c, old *crd) {
				c.Spec = *old.Spec.DeepCopy()
				if len(c.Status.StoredVersions) == 0 {
					noteStorageVersion(c)
				}
			},
			ValidateUpdate: validateCRDStatus,
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Scope", "string", "Cluster/Namespaced"),
			column("Versions", "string", "Served versions"),
			createdAtColumn(),
			wide("Group", "string", "API group"),
			wide("Kind", "string", "CustomResource kind"),
			wide("ShortNames", "string", "Short names"),
			wide("Established", "boolean", "Established status"),
		},
		Cells: cells(crdCells),
	}
}

func crdCells(c *crd, _ time.Time) []any {
	var served []string
	for _, v := range c.Spec.Versions {
		switch {
		case v.Served && v.Storage:
			served = append(served, v.Name+"(storage)")
		case v.Served:
			served = append(served, v.Name)
		}
	}
	established := apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Established)
	return []any{c.Name, string(c.Spec.Scope), strings.Join(served, ","), c.CreationTimestamp.UTC().Format(time.RFC3339),
		c.Spec.Group, c.Spec.Names.Kind, strings.Join(c.Spec.Names.ShortNames, ","), established}
}

// readOldCRD reads a definition as upstream still stores it: what all versions have in common stands once.
func readOldCRD(data []byte) (Object, error) {
	var old apiextensionsv1beta1.CustomResourceDefinition
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, err
	}
	apiextensionsv1beta1.SetDefaults_CustomResourceDefinition(&old)
	apiextensionsv1beta1.SetDefaults_CustomResourceDefinitionSpec(&old.Spec)
	var common apiextensions.CustomResourceDefinition
	if err := apiextensionsv1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&old, &common, nil); err != nil {
		return nil, err
	}
	out := &crd{}
	if err := apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(&common, out, nil); err != nil {
		return nil, err
	}
	out.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	return out, nil
}

// beginDeleteCRD keeps a definition until its objects are gone.
func beginDeleteCRD(obj Object) {
	c, ok := obj.(*crd)
	if !ok {
		return
	}
	if !slices.Contains(c.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) {
		c.Finalizers = append(c.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer)
	}
	apihelpers.SetCRDCondition(c, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
	})
}

// noteStorageVersion remembers every version in which objects have ever been stored: such a version may only
// leave the definition after its objects were stored anew.
func noteStorageVersion(c *crd) {
	for _, v := range c.Spec.Versions {
		if !v.Storage {
			continue
		}
		if !slices.Contains(c.Status.StoredVersions, v.Name) {
			c.Status.StoredVersions = append(c.Status.StoredVersions, v.Name)
		}
		return // there is only one, or the definition is refused
	}
}

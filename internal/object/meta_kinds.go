package object

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// The kinds differ in how their metadata is judged, as clients of upstream's server see.

// plainFinalizers says whether finalizers of a kind need no domain.
func plainFinalizers(obj metav1.Object) bool {
	switch obj.(type) {
	case *apiregistrationv1.APIService, *crd, *corev1.Event, *eventsv1.Event, *coordinationv1.Lease, *policyv1.PodDisruptionBudget, *nodev1.RuntimeClass,
		*admissionv1.MutatingAdmissionPolicy, *admissionv1.MutatingAdmissionPolicyBinding, *admissionv1.MutatingWebhookConfiguration,
		*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding, *admissionv1.ValidatingWebhookConfiguration:
		return true
	}
	return false
}

// judgesGenerateName says whether an update of the kind judges metadata.generateName, which does nothing any more.
func judgesGenerateName(obj metav1.Object) bool {
	switch obj.(type) {
	case *apiregistrationv1.APIService, *storagev1.CSINode, *storagev1.CSIStorageCapacity, *certificatesv1.ClusterTrustBundle, *corev1.ConfigMap,
		*appsv1.ControllerRevision, *discoveryv1.EndpointSlice, *corev1.Endpoints, *flowcontrolv1.FlowSchema, *networkingv1.IPAddress,
		*networkingv1.Ingress, *networkingv1.IngressClass, *corev1.LimitRange, *corev1.Namespace, *corev1.Node, *corev1.PersistentVolume,
		*corev1.PersistentVolumeClaim, *corev1.Pod, *flowcontrolv1.PriorityLevelConfiguration, *resourcev1.ResourceClaim, *resourcev1.ResourceClaimTemplate,
		*nodev1.RuntimeClass, *corev1.Secret, *corev1.ServiceAccount, *storagev1.StorageClass, *migrationv1.StorageVersionMigration,
		*storagev1.VolumeAttachment, *storagev1.VolumeAttributesClass,
		*admissionv1.MutatingAdmissionPolicy, *admissionv1.MutatingAdmissionPolicyBinding, *admissionv1.MutatingWebhookConfiguration,
		*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding, *admissionv1.ValidatingWebhookConfiguration:
		return true
	}
	return false
}

func validateGenerateName(obj metav1.Object, name NameRule) field.ErrorList {
	g := obj.GetGenerateName()
	if g == "" || !judgesGenerateName(obj) {
		return nil
	}
	return check(metadataPath.Child("generateName"), g, name(g, true))
}

// standardFinalizers wants finalizers to be those of the API itself or to have a domain.
func standardFinalizers(obj metav1.Object) field.ErrorList {
	if plainFinalizers(obj) {
		return nil
	}
	return domainFinalizers(obj)
}

func standardFinalizer(f string) bool {
	return strings.Contains(f, "/") || slices.Contains([]string{string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents}, f)
}

func domainFinalizers(obj metav1.Object) field.ErrorList {
	var errs field.ErrorList
	for i, f := range obj.GetFinalizers() {
		if !standardFinalizer(f) {
			errs = append(errs, field.Invalid(metadataPath.Child("finalizers").Index(i), f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// metaUpdate is ValidateMetaUpdate, whose errors clients of some kinds have always seen more than once.
func metaUpdate(obj, old metav1.Object) field.ErrorList {
	errs := ValidateMetaUpdate(obj, old)
	if _, again := obj.(*apiregistrationv1.APIService); again {
		values := ValidateMetaUpdate(obj, obj)
		errs = slices.Concat(errs, errs, values, values)
	}
	return errs
}

func updatedFinalizers(obj metav1.Object) field.ErrorList {
	if _, own := obj.(*crd); own || len(obj.GetFinalizers()) == 0 {
		return nil // definitions judge all their metadata again
	}
	at := metadataPath.Child("finalizers")
	errs := apivalidation.ValidateFinalizers(obj.GetFinalizers(), at)
	if _, again := obj.(*apiregistrationv1.APIService); again {
		errs = append(errs, apivalidation.ValidateFinalizers(obj.GetFinalizers(), at)...)
	}
	return append(errs, standardFinalizers(obj)...)
}

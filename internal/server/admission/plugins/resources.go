package plugins

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"

	"hyperkube/internal/client"
)

// Kinds that only plugins read.
var (
	limitRanges    = client.Resource[*corev1.LimitRange]{GVR: corev1.SchemeGroupVersion.WithResource("limitranges")}
	storageClasses = client.Resource[*storagev1.StorageClass]{GVR: storagev1.SchemeGroupVersion.WithResource("storageclasses")}
	csiDrivers     = client.Resource[*storagev1.CSIDriver]{GVR: storagev1.SchemeGroupVersion.WithResource("csidrivers")}
	ingressClasses = client.Resource[*networkingv1.IngressClass]{GVR: networkingv1.SchemeGroupVersion.WithResource("ingressclasses")}
)

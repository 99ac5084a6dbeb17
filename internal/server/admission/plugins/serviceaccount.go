package plugins

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

const (
	defaultAccount      = "default"
	accountMountPath    = "/var/run/secrets/kubernetes.io/serviceaccount"
	accountVolumePrefix = "kube-api-access-"
	rootCAConfigMap     = "kube-root-ca.crt"
	tokenSeconds        = 3607 // an hour and a bit: by this the server knows tokens that pods mount by default
	enforceMountable    = "kubernetes.io/enforce-mountable-secrets"
	defaultAccountWait  = 2 * time.Second
)

// serviceAccount gives every pod its service account, the volume with its token, and the account's image pull secrets.
type serviceAccount struct{ api client.Interface }

func (*serviceAccount) Name() string { return "ServiceAccount" }

func (p *serviceAccount) Mutate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") || a.Operation != admission.Create {
		return nil
	}
	if isMirror(pod) {
		return validateMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	sa, err := p.account(ctx, a, pod)
	if err != nil {
		return err
	}
	if automount(sa, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, sa.ImagePullSecrets...)
	}
	return nil
}

func (p *serviceAccount) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.GVR.Resource != "pods" || a.GVR.Group != "" {
		return nil
	}
	create := a.Subresource == "" && a.Operation == admission.Create
	if !create && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	if isMirror(pod) {
		return validateMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		return nil
	}
	sa, err := p.account(ctx, a, pod)
	if err != nil {
		return err
	}
	if sa.Annotations[enforceMountable] != "true" {
		return nil
	}
	return limitSecrets(a, sa, pod)
}

func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// validateMirror keeps mirror pods from naming objects that their kubelet would then be allowed to read.
func validateMirror(a *admission.Attributes, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return admission.Forbidden(a, "a mirror pod may not reference service accounts")
	}
	if len(secretsOf(pod)) > 0 {
		return admission.Forbidden(a, "a mirror pod may not reference secrets")
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Projected; v != nil {
			for j := range v.Sources {
				if v.Sources[j].ServiceAccountToken != nil {
					return admission.Forbidden(a, "a mirror pod may not use ServiceAccountToken volume projections")
				}
			}
		}
	}
	return nil
}

// account finds the pod's service account. The default one of a new namespace may be about to be made.
func (p *serviceAccount) account(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*corev1.ServiceAccount, error) {
	name := pod.Spec.ServiceAccountName
	sa, err := find(ctx, p.api, client.ServiceAccounts, a.Namespace, name)
	if apierrors.IsNotFound(err) && name == defaultAccount {
		sa, err = p.await(ctx, a.Namespace, err)
	}
	if apierrors.IsNotFound(err) {
		return nil, admission.Forbidden(a, fmt.Sprintf("error looking up service account %s/%s: serviceaccount %q not found", a.Namespace, name, name))
	}
	return sa, err
}

// await watches for the default account for a short while.
func (p *serviceAccount) await(ctx context.Context, namespace string, missing error) (*corev1.ServiceAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultAccountWait)
	defer cancel()
	w, err := p.api.Watch(ctx, client.ServiceAccounts.GVR, namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + defaultAccount})
	if err != nil {
		return nil, missing
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, missing
		case ev, ok := <-w.ResultChan():
			if !ok || ev.Type == watch.Error {
				return nil, missing
			}
			if sa, ok := ev.Object.(*corev1.ServiceAccount); ok && (ev.Type == watch.Added || ev.Type == watch.Modified) && sa.Name == defaultAccount {
				return sa, nil
			}
		}
	}
}

func automount(sa *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return sa.AutomountServiceAccountToken == nil || *sa.AutomountServiceAccountToken
}

// mountToken mounts the token's volume in each container that has nothing at its place.
func mountToken(pod *corev1.Pod) {
	name, exists := "", false
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; strings.HasPrefix(v.Name, accountVolumePrefix) {
			name, exists = v.Name, true
			break
		}
	}
	if !exists {
		name = freeVolumeName(pod)
	}
	mount := corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: accountMountPath}
	needed := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if !mounts(&list[i], accountMountPath) {
				list[i].VolumeMounts = append(list[i].VolumeMounts, mount)
				needed = true
			}
		}
	}
	if needed && !exists {
		pod.Spec.Volumes = append(pod.Spec.Volumes, tokenVolume(name))
	}
}

func mounts(c *corev1.Container, path string) bool {
	for i := range c.VolumeMounts {
		if c.VolumeMounts[i].MountPath == path {
			return true
		}
	}
	return false
}

// freeVolumeName appends five random letters, as names that the server generates have.
func freeVolumeName(pod *corev1.Pod) string {
	for {
		name := accountVolumePrefix + rand.String(5)
		taken := false
		for i := range pod.Spec.Volumes {
			taken = taken || pod.Spec.Volumes[i].Name == name
		}
		if !taken {
			return name
		}
	}
}

// tokenVolume holds what a client in a pod needs: token, CA and namespace.
func tokenVolume(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To(int64(tokenSeconds))}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCAConfigMap},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}}}
}

// limitSecrets holds a pod to the secrets that its account lists, where the account asks for that.
func limitSecrets(a *admission.Attributes, sa *corev1.ServiceAccount, pod *corev1.Pod) error {
	mountable := map[string]bool{}
	for i := range sa.Secrets {
		mountable[sa.Secrets[i].Name] = true
	}
	pull := map[string]bool{}
	for i := range sa.ImagePullSecrets {
		pull[sa.ImagePullSecrets[i].Name] = true
	}
	for i := range pod.Spec.ImagePullSecrets {
		if n := pod.Spec.ImagePullSecrets[i].Name; !pull[n] {
			return admission.Forbidden(a, fmt.Sprintf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, n, sa.Name))
		}
	}
	for _, n := range mountedSecrets(pod) {
		if !mountable[n] {
			return admission.Forbidden(a, fmt.Sprintf("the secret %q is not allowed because service account %s does not reference that secret", n, sa.Name))
		}
	}
	return nil
}

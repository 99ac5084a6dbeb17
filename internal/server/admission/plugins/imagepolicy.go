package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	imagepolicyv1 "k8s.io/api/imagepolicy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"

	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/webhook"
)

// imagePolicy asks a webhook whether pods may run their images
// (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#imagepolicywebhook).
type imagePolicy struct {
	remote       *webhook.Remote
	answers      *cache.LRUExpireCache
	allow, deny  time.Duration
	defaultAllow bool
}

const (
	// failedOpenAudit tells in the audit log that nobody could be asked.
	failedOpenAudit = "imagepolicywebhook.image-policy.k8s.io/failed-open"
	keptAnswers     = 1024
)

// imagePolicySettings are the fields of the documented configuration: seconds, and milliseconds for the backoff.
type imagePolicySettings struct {
	KubeConfigFile string `json:"kubeConfigFile"`
	AllowTTL       int64  `json:"allowTTL"`
	DenyTTL        int64  `json:"denyTTL"`
	RetryBackoff   int64  `json:"retryBackoff"`
	DefaultAllow   bool   `json:"defaultAllow"`
}

func newImagePolicy(c *Config) (*imagePolicy, error) {
	var doc struct {
		Policy *imagePolicySettings `json:"imagePolicy"`
	}
	if _, err := c.Settings.Decode("ImagePolicyWebhook", "", "", &doc); err != nil {
		return nil, err
	}
	if doc.Policy == nil || doc.Policy.KubeConfigFile == "" {
		return nil, fmt.Errorf("--admission-control-config-file must give imagePolicy.kubeConfigFile")
	}
	s := doc.Policy
	p := &imagePolicy{answers: cache.NewLRUExpireCache(keptAnswers), defaultAllow: s.DefaultAllow}
	var backoff time.Duration
	var err error
	if p.allow, err = between("allowTTL", s.AllowTTL, time.Second, 5*time.Minute, 30*time.Minute); err != nil {
		return nil, err
	}
	if p.deny, err = between("denyTTL", s.DenyTTL, time.Second, 30*time.Second, 30*time.Minute); err != nil {
		return nil, err
	}
	if backoff, err = between("retryBackoff", s.RetryBackoff, time.Millisecond, 500*time.Millisecond, 5*time.Minute); err != nil {
		return nil, err
	}
	file := s.KubeConfigFile
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(c.Settings["ImagePolicyWebhook"].File), file)
	}
	p.remote, err = webhook.FromKubeconfig(file, webhook.Backoff{Initial: backoff})
	return p, err
}

// between reads a time in a unit: zero is the usual one, a negative one none at all.
func between(name string, n int64, unit, usual, most time.Duration) (time.Duration, error) {
	switch d := time.Duration(n) * unit; {
	case n == 0:
		return usual, nil
	case n < 0 && name != "retryBackoff":
		return 0, nil
	case d < unit || d > most:
		return 0, fmt.Errorf("imagePolicy.%s: valid value is between %v and %v, got %v", name, unit, most, d)
	default:
		return d, nil
	}
}

func (*imagePolicy) Name() string { return "ImagePolicyWebhook" }

func (p *imagePolicy) Validate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || a.GVR.Resource != "pods" || a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	spec := reviewOf(a, pod)
	if a.Operation != admission.Create && len(spec.Containers) == 0 {
		return nil
	}
	status, err := p.ask(ctx, spec)
	if err != nil {
		if p.defaultAllow {
			a.Annotate(failedOpenAudit, "true")
			return nil
		}
		return admission.Forbidden(a, err.Error())
	}
	for k, v := range status.AuditAnnotations {
		a.Annotate("imagepolicywebhook.image-policy.k8s.io/"+k, v)
	}
	switch {
	case status.Allowed:
		return nil
	case status.Reason != "":
		return admission.Forbidden(a, "image policy webhook backend denied one or more images: "+status.Reason)
	}
	return admission.Forbidden(a, "one or more images rejected by webhook backend")
}

// reviewOf is what the webhook is told: the images that are new, and the annotations that are meant for it.
func reviewOf(a *admission.Attributes, pod *corev1.Pod) imagepolicyv1.ImageReviewSpec {
	spec := imagepolicyv1.ImageReviewSpec{Namespace: a.Namespace, Annotations: map[string]string{}}
	known := map[string]bool{}
	if old, ok := a.OldObject.(*corev1.Pod); ok {
		for _, image := range imagesOf(old) {
			known[image] = true
		}
	}
	for _, image := range imagesOf(pod) {
		if !known[image] {
			spec.Containers = append(spec.Containers, imagepolicyv1.ImageReviewContainerSpec{Image: image})
		}
	}
	for k, v := range pod.Annotations {
		if domain, _, ok := strings.Cut(k, "/"); ok && strings.HasSuffix(domain, ".image-policy.k8s.io") {
			spec.Annotations[k] = v
		}
	}
	return spec
}

func imagesOf(pod *corev1.Pod) []string {
	var all []string
	for i := range pod.Spec.EphemeralContainers {
		all = append(all, pod.Spec.EphemeralContainers[i].Image)
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			all = append(all, list[i].Image)
		}
	}
	return all
}

// ask asks the webhook, or remembers what it said.
func (p *imagePolicy) ask(ctx context.Context, spec imagepolicyv1.ImageReviewSpec) (*imagepolicyv1.ImageReviewStatus, error) {
	key, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	if have, ok := p.answers.Get(string(key)); ok {
		if status, ok := have.(*imagepolicyv1.ImageReviewStatus); ok {
			return status, nil
		}
	}
	body, err := json.Marshal(&imagepolicyv1.ImageReview{
		TypeMeta: metav1.TypeMeta{APIVersion: imagepolicyv1.SchemeGroupVersion.String(), Kind: "ImageReview"}, Spec: spec})
	if err != nil {
		return nil, err
	}
	data, err := p.remote.Post(ctx, body)
	if err != nil {
		return nil, err
	}
	var review imagepolicyv1.ImageReview
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, fmt.Errorf("the answer of the image policy webhook is no ImageReview: %w", err)
	}
	keep := p.deny
	if review.Status.Allowed {
		keep = p.allow
	}
	if keep > 0 {
		p.answers.Add(string(key), &review.Status, keep)
	}
	return &review.Status, nil
}

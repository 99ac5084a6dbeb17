package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
	"hyperkube/internal/server/request"
)

const group = "admission.k8s.io/"

// post sends the question. The time that it takes is the webhook's, not the server's.
func (h *hook) post(ctx context.Context, cfg *Config, body []byte) ([]byte, error) {
	if r := request.From(ctx); r != nil {
		began := time.Now()
		defer func() { r.Aside(time.Since(began)) }()
	}
	return cfg.Caller.Post(ctx, h.target, h.timeout, body)
}

// call asks one webhook. The error is the webhook's refusal (an error of the API), or says why it could not be asked.
func (h *hook) call(ctx context.Context, cfg *Config, a *admission.Attributes, in *match.Input, at place) (*admissionv1.AdmissionResponse, error) {
	if a.DryRun && !h.quiet {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", h.name))
	}
	version := group + "v1"
	if !slices.Contains(h.apiVersions, "v1") && len(h.apiVersions) > 0 {
		if !slices.Contains(h.apiVersions, "v1beta1") {
			return nil, h.failed(a, at, fmt.Errorf("webhook does not accept known AdmissionReview versions (v1, v1beta1)"))
		}
		version = group + "v1beta1"
	}
	began := time.Now()
	response, refusal, failure := h.ask(ctx, cfg, a, in, version)
	cfg.Metrics.called(h, a.Operation, time.Since(began), refusal, failure)
	if failure != nil {
		return nil, h.internal(a, at, failure)
	}
	return response, refusal
}

// ask gives what the webhook says, its refusal, or why it did not say anything of use.
func (h *hook) ask(ctx context.Context, cfg *Config, a *admission.Attributes, in *match.Input, version string) (response *admissionv1.AdmissionResponse, refusal, failure error) {
	id := uuid.NewUUID()
	request := *in.Request
	request.UID = id
	request.Object = runtime.RawExtension{Object: in.Attributes.VersionedObject.Object()}
	request.OldObject = runtime.RawExtension{Object: in.Attributes.VersionedOldObject.Object()}
	body, err := json.Marshal(&admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: "AdmissionReview"}, Request: &request})
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("could not create AdmissionReview objects: %w", err)), nil
	}
	data, err := h.post(ctx, cfg, body)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to call webhook: %w", err)
	}
	if response, err = answer(data, version, id); err != nil {
		return nil, nil, fmt.Errorf("received invalid webhook response: %w", err)
	}
	for _, w := range response.Warnings {
		a.Warn(w)
	}
	for k, v := range response.AuditAnnotations {
		a.Annotate(h.name+"/"+k, v)
	}
	if !response.Allowed {
		return nil, refused(h.name, response.Result), nil
	}
	return response, nil, nil
}

// internal is an error of the server's, unless the webhook may be left out.
func (h *hook) internal(a *admission.Attributes, at place, err error) error {
	if err = h.failed(a, at, err); err != nil {
		return apierrors.NewInternalError(err)
	}
	return nil
}

func answer(data []byte, version string, id any) (*admissionv1.AdmissionResponse, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, err
	}
	r := review.Response
	switch {
	case r == nil:
		return nil, errors.New("webhook response was absent")
	case review.APIVersion != "" && (review.APIVersion != version || review.Kind != "AdmissionReview"):
		return nil, fmt.Errorf("expected webhook response of %s, Kind=AdmissionReview, got %s, Kind=%s", version, review.APIVersion, review.Kind)
	case version == group+"v1" && any(r.UID) != id:
		return nil, fmt.Errorf("expected response.uid=%q, got %q", id, r.UID)
	}
	if len(r.Patch) > 0 && version == group+"v1" && (r.PatchType == nil || *r.PatchType != admissionv1.PatchTypeJSONPatch) {
		return nil, errors.New("webhook returned response.patch but not response.patchType=JSONPatch")
	}
	return r, nil
}

// refused is a webhook's refusal in upstream's words.
func refused(name string, result *metav1.Status) error {
	by := fmt.Sprintf("admission webhook %q denied the request", name)
	if result == nil {
		result = &metav1.Status{}
	}
	s := result.DeepCopy()
	s.Status = metav1.StatusFailure
	if s.Code < http.StatusBadRequest {
		s.Code = http.StatusBadRequest
	}
	switch {
	case s.Message != "":
		s.Message = by + ": " + s.Message
	case s.Reason != "":
		s.Message = by + ": " + string(s.Reason)
	default:
		s.Message = by + " without explanation"
	}
	return &apierrors.StatusError{ErrStatus: *s}
}

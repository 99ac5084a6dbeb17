package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object"
	"hyperkube/internal/server/negotiate"
)

// statusOf makes the Status that tells a client of an error. What is no error of the API becomes a 500 with its text.
func statusOf(err error) *metav1.Status {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		s := known.Status()
		s.Status = metav1.StatusFailure
		if s.Code == 0 {
			s.Code = http.StatusInternalServerError
		}
		return &s
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ptr.To(apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0).Status())
	case errors.Is(err, context.Canceled):
		return ptr.To(apierrors.NewTimeoutError("the request was given up", 0).Status())
	}
	return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error(), Reason: metav1.StatusReasonUnknown}
}

func errNotAcceptable(o negotiate.Offer) error {
	return statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: "+strings.Join(o.Accepted(), ", "))
}

// errNotFound is the answer where no route of a built-in kind has the path.
func errNotFound() error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "", 0, false)
}

// errNotRouted is the answer where no route has what is accepted.
func errNotRouted(have ...string) error {
	err := statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "406: Not Acceptable\n\nAvailable representations: "+strings.Join(have, ", "))
	err.ErrStatus.Details = &metav1.StatusDetails{}
	return err
}

// goType is what clients are told to be the type of a kind.
func goType(v *object.Version, kind string) string {
	switch group, _, _ := strings.Cut(v.Group, "."); {
	case v.Custom != nil && kind == v.Kind:
		return "*unstructured.Unstructured"
	case v.Custom != nil:
		return "*unstructured.UnstructuredList"
	case group == "" || group == "events":
		return "*core." + kind
	default:
		return "*" + group + "." + kind
	}
}

// errNotReadable is the answer where no route of a built-in kind reads what is sent.
func errNotReadable() error {
	err := statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "415: Unsupported Media Type")
	err.ErrStatus.Details = &metav1.StatusDetails{}
	return err
}

func errMedia(accepted ...string) error {
	return statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: "+strings.Join(accepted, ", "))
}

// errMethod is in the words of whichever of upstream's servers would answer: custom resources have one of their own.
func errMethod(k *object.Kind, verb string) error {
	if k.Hub().Custom != nil {
		if !slices.Contains(object.AllVerbs, verb) {
			verb = "" // a method that is none of the API's
		}
		return apierrors.NewMethodNotSupported(k.GroupResource(), verb)
	}
	return errNotAllowed()
}

func errNotAllowed() error {
	return apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", schema.GroupResource{}, "", "", 0, false)
}

func errTooLarge(limit int64) error {
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
}

func errNotServed(path string) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource: "+path)
}

func statusError(code int32, reason metav1.StatusReason, text string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: text}}
}

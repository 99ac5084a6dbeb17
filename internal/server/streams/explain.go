package streams

import (
	"errors"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// explained turns a kubelet's refusal, which is plain text, into an error of the API with that text, so that clients can show it.
type explained struct {
	http.RoundTripper
	pod string
}

// maxExplanation is how much of a refusal is read, in bytes.
const maxExplanation = 4096

func (e explained) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode <= http.StatusPartialContent {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxExplanation))
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	text := string(body)
	switch resp.StatusCode {
	case http.StatusInternalServerError:
		return nil, apierrors.NewInternalError(errors.New(text))
	case http.StatusBadRequest:
		return nil, apierrors.NewBadRequest(text)
	}
	return nil, apierrors.NewGenericServerResponse(resp.StatusCode, "", corev1.Resource("pods/log"), e.pod, text, 0, false)
}

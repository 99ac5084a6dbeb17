package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

var parameters = sync.OnceValue(func() runtime.ParameterCodec { return runtime.NewParameterCodec(object.Scheme()) })

// known says whether this binary has Go types for a group and version.
func known(gv schema.GroupVersion) bool { return object.Scheme().IsVersionRegistered(gv) }

func encodeBody(r GVR, obj Object) (*body, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		data, err := u.MarshalJSON()
		return &body{data, codec.JSON}, err
	}
	gvk, err := codec.KindOf(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", r.Resource, err)
	}
	data, err := codec.EncodeProto(obj, gvk)
	if err == nil {
		return &body{data, codec.Protobuf}, nil
	}
	if !protobuf.IsNotMarshalable(err) {
		return nil, fmt.Errorf("encoding %s: %w", r.Resource, err)
	}
	data, err = codec.EncodeJSON(obj, gvk)
	return &body{data, codec.JSON}, err
}

func deleteBody(o *metav1.DeleteOptions) (*body, error) {
	data, err := codec.EncodeJSON(o, schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"})
	return &body{data, codec.JSON}, err
}

// retries bounds how often a request is sent again after 429 or 503 with Retry-After.
const retries = 10

// do sends a request and gives a successful answer, whose body the caller closes, or the server's error.
func (c *restClient) do(ctx context.Context, method, url string, r GVR, b *body) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		req, err := http.NewRequestWithContext(ctx, method, url, b.reader())
		if err != nil {
			return nil, err
		}
		req.Header.Set("User-Agent", c.agent)
		req.Header.Set("Accept", codec.JSON)
		if known(r.GroupVersion()) {
			req.Header.Set("Accept", codec.Protobuf+","+codec.JSON)
		}
		if b != nil {
			req.Header.Set("Content-Type", b.contentType)
		}
		res, err := c.connection.do(req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 300 {
			return res, nil
		}
		wait, again := retryAfter(res)
		err = statusError(res, method, r)
		res.Body.Close()
		if !again || attempt == retries {
			return nil, err
		}
		t := time.NewTimer(wait + rand.N(100*time.Millisecond))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

func retryAfter(res *http.Response) (time.Duration, bool) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode < 500 {
		return 0, false
	}
	s, err := strconv.Atoi(res.Header.Get("Retry-After"))
	return time.Duration(s) * time.Second, err == nil
}

// errorLimit bounds what is read of an answer that is an error, in bytes.
const errorLimit = 1 << 20

func statusError(res *http.Response, method string, r GVR) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, errorLimit))
	if err != nil {
		return fmt.Errorf("reading the server's error %s: %w", res.Status, err)
	}
	if obj, err := decode(data, res.Header.Get("Content-Type")); err == nil {
		if s, ok := obj.(*metav1.Status); ok && s.Status != metav1.StatusSuccess {
			return apierrors.FromObject(s)
		}
	}
	text := string(data[:min(len(data), 1024)])
	return apierrors.NewGenericServerResponse(res.StatusCode, method, r.GroupResource(), "", text, 0, true)
}

func (c *restClient) read(ctx context.Context, method, url string, r GVR, b *body) (runtime.Object, error) {
	res, err := c.do(ctx, method, url, r, b)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.Resource, err)
	}
	obj, err := decode(data, res.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", r.Resource, err)
	}
	return obj, nil
}

func decode(data []byte, contentType string) (runtime.Object, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("content type %q: %w", contentType, err)
	}
	obj, _, err := codec.Decode(data, mediaType, nil, nil, false)
	if runtime.IsNotRegisteredError(err) && mediaType == codec.JSON {
		return runtime.Decode(unstructured.UnstructuredJSONScheme, data)
	}
	return obj, err
}

func (c *restClient) json(ctx context.Context, path string, into any) error {
	u := *c.base
	u.Path += path
	res, err := c.do(ctx, http.MethodGet, u.String(), GVR{Resource: path}, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// decodeWatch turns the answer to a watch into events. cancel ends the request.
func decodeWatch(res *http.Response, cancel context.CancelFunc) (watch.Interface, error) {
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("content type of a watch: %w", err)
	}
	var frames io.ReadCloser
	var outer, inner runtime.Decoder
	s := object.Scheme()
	switch mediaType {
	case codec.Protobuf:
		frames = protobuf.LengthDelimitedFramer.NewFrameReader(res.Body)
		outer, inner = protobuf.NewRawSerializer(s, s), protobuf.NewSerializer(s, s)
	case codec.JSON:
		frames = jsonserializer.Framer.NewFrameReader(res.Body)
		typed := jsonserializer.NewSerializerWithOptions(jsonserializer.DefaultMetaFactory, s, s, jsonserializer.SerializerOptions{})
		outer, inner = typed, anyDecoder{typed}
	default:
		return nil, fmt.Errorf("a watch of content type %q cannot be read", mediaType)
	}
	d := restwatch.NewDecoder(streaming.NewDecoder(frames, outer), inner)
	return &stream{watch.NewStreamWatcher(d, badFrame{}), cancel}, nil
}

// anyDecoder gives the Go type of a kind where there is one, else an untyped object.
type anyDecoder struct{ typed runtime.Decoder }

func (d anyDecoder) Decode(data []byte, def *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := d.typed.Decode(data, def, into)
	if runtime.IsNotRegisteredError(err) {
		return unstructured.UnstructuredJSONScheme.Decode(data, def, nil)
	}
	return obj, gvk, err
}

type badFrame struct{}

func (badFrame) AsObject(err error) runtime.Object {
	s := apierrors.NewInternalError(fmt.Errorf("watch broken: %w", err)).Status()
	return &s
}

// stream ends its request when it is stopped.
type stream struct {
	*watch.StreamWatcher
	cancel context.CancelFunc
}

func (s *stream) Stop() {
	s.cancel()
	s.StreamWatcher.Stop()
}

package streams

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestOnlyDistantBackendsAreAllowed(t *testing.T) {
	for address, want := range map[string]bool{
		"10.244.1.5:8080": true, "192.168.0.7": true, "203.0.113.9:80": true, "[fd00::7]:80": true, "[2001:db8::1]": true,
		"127.0.0.1:8080": false, "127.8.8.8": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "0.0.0.0:80": false, "[::]:80": false,
		"169.254.169.254": false, "[fe80::1]:80": false, "224.0.0.1:80": false, "[ff02::1]:80": false, "[ff01::1]:80": false, "localhost:80": false,
	} {
		err := allowed(t.Context(), &url.URL{Scheme: "http", Host: address})
		if want && err != nil || !want && (!apierrors.IsBadRequest(err) || err.Error() != "address not allowed") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := allowed(t.Context(), &url.URL{Scheme: "http", Host: "nobody.invalid:80"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a name that nothing has: %v", err)
	}
}

// A backend's name may resolve to something else by the time that it is connected to.
func TestBackendsAreJudgedAgainWhenConnected(t *testing.T) {
	near := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a service of the server's own machine was reached") }))
	defer near.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, near.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport(nil, dialDistant).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1: address not allowed") {
		t.Fatal(err)
	}
}

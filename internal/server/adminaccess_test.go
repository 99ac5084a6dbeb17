package server_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"hyperkube/internal/server/servertest"
)

// TestAdminAccess: devices in use by others are for those who may label the namespace.
func TestAdminAccess(t *testing.T) {
	w := newWeb(t, servertest.Start(t, nil).REST)
	const claims = "/apis/resource.k8s.io/v1/namespaces/admin/resourceclaims"
	claim := func(name string) string {
		return `{"metadata":{"name":"` + name + `"},"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"d","adminAccess":true}}]}}}`
	}
	res, body := w.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"admin"}}`)
	require.Equal(t, http.StatusCreated, res.StatusCode, "%s", body)

	res, body = w.do("POST", claims, claim("no"))
	require.Equal(t, http.StatusUnprocessableEntity, res.StatusCode, "%s", body)
	assert.Contains(t, string(body), "spec.devices.requests[0].adminAccess: Forbidden")

	res, body = w.do("PUT", "/api/v1/namespaces/admin", `{"metadata":{"name":"admin","labels":{"resource.kubernetes.io/admin-access":"true"}}}`)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	res, body = w.do("POST", claims, claim("yes"))
	require.Equal(t, http.StatusCreated, res.StatusCode, "%s", body)
}

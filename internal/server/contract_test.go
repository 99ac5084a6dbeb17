package server_test

import (
	"testing"

	"hyperkube/internal/client"
	"hyperkube/internal/client/contract"
	"hyperkube/internal/server"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/version"
)

// described has the server serve its OpenAPI documents.
func described(c *server.Config) {
	c.Wire = func(_ client.Interface, p *server.Parts) error {
		p.Handlers = openapi.New(p.Table, nil, version.Kubernetes).Handlers()
		return nil
	}
}

func TestContractDirect(t *testing.T) {
	contract.Run(t, servertest.Start(t, described).Admin())
}

func TestContractREST(t *testing.T) {
	c, err := client.NewREST(servertest.Start(t, described).REST)
	if err != nil {
		t.Fatal(err)
	}
	contract.Run(t, c)
}

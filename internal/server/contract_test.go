package server_test

import (
	"testing"

	"hyperkube/internal/client"
	"hyperkube/internal/client/contract"
	"hyperkube/internal/server/servertest"
)

func TestContractDirect(t *testing.T) {
	contract.Run(t, servertest.Start(t, nil).Admin())
}

func TestContractREST(t *testing.T) {
	c, err := client.NewREST(servertest.Start(t, nil).REST)
	if err != nil {
		t.Fatal(err)
	}
	contract.Run(t, c)
}

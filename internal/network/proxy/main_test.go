package proxy

import (
	"os"
	"testing"

	"hyperkube/internal/network/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

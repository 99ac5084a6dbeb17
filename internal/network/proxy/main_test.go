package proxy

import (
	"os"
	"slices"
	"testing"

	"hyperkube/internal/network/nettest"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

func sorted(in []string) []string {
	slices.Sort(in)
	return in
}

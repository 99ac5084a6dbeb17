package streams

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// notAllowed is the text that clients know for an address that requests are not passed to.
const notAllowed = "address not allowed"

// distant says whether requests may be passed to an address. What is near the server itself rather than in the cluster is not for its
// users: services on its loopback interface, and those on link-local addresses, from which clouds tell machines their credentials.
func distant(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsLinkLocalMulticast() && !a.IsInterfaceLocalMulticast()
}

// allowed refuses a backend whose host is not distant, by any of the addresses that its name has.
func allowed(ctx context.Context, backend *url.URL) error {
	host := backend.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		if !distant(a) {
			return apierrors.NewBadRequest(notAllowed)
		}
		return nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	for _, a := range all {
		if !distant(a) {
			return apierrors.NewBadRequest(notAllowed)
		}
	}
	return nil
}

// dialDistant is the Control of a dialer: a name may have got another address since it was asked about.
func dialDistant(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !distant(to.Addr()) {
		return fmt.Errorf("%s: %s", to.Addr(), notAllowed)
	}
	return nil
}

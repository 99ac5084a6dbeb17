package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sort"
	"strings"
	"time"
)

// leaf is one certificate that a cluster has.
type leaf struct {
	name string
	at   *Pair
	ca   *CA
	Request
}

// table lists every certificate besides the authorities.
func (f *Files) table() []leaf {
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	user := func(name string, at *Pair, cn string, groups ...string) leaf {
		return leaf{name, at, f.CA, Request{CommonName: cn, Organizations: groups, Usages: client}}
	}
	o := &f.opts
	hosts, ips := f.machineNames()
	apiHosts := append([]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + o.ClusterDomain}, hosts...)
	apiIPs := append(slices.Clone(ips), o.IPs...)
	if o.ServiceIP != nil {
		apiIPs = append(apiIPs, o.ServiceIP)
	}
	rows := []leaf{
		{"apiserver", &f.APIServer, f.CA, Request{CommonName: "kube-apiserver", DNSNames: append(apiHosts, o.Hosts...), IPs: apiIPs, Usages: server}},
		user("apiserver-kubelet-client", &f.APIServerKubeletClient, "kube-apiserver-kubelet-client"),
		{"apiserver-etcd-client", &f.APIServerEtcdClient, f.EtcdCA, Request{CommonName: "kube-apiserver-etcd-client", Usages: client}},
		{"front-proxy-client", &f.FrontProxyClient, f.FrontProxyCA, Request{CommonName: "front-proxy-client", Usages: client}},
		{"etcd/server", &f.EtcdServer, f.EtcdCA, Request{CommonName: "etcd", DNSNames: hosts, IPs: ips, Usages: both}},
		{"etcd/peer", &f.EtcdPeer, f.EtcdCA, Request{CommonName: "etcd-peer", DNSNames: hosts, IPs: ips, Usages: both}},
		user("admin", &f.Admin, "kubernetes-admin", "system:masters"),
		user("controller-manager", &f.ControllerManager, "system:kube-controller-manager"),
		user("scheduler", &f.Scheduler, "system:kube-scheduler"),
		user("proxy", &f.Proxy, "system:kube-proxy"),
		user("flannel", &f.Flannel, "system:flannel"),
		user("dns", &f.DNS, "system:dns"),
	}
	if o.NodeName == "" {
		return rows
	}
	node := "system:node:" + o.NodeName
	return append(rows,
		user("kubelet-client", &f.KubeletClient, node, "system:nodes"),
		leaf{"kubelet", &f.KubeletServer, f.CA, Request{CommonName: node, Organizations: []string{"system:nodes"},
			DNSNames: []string{o.NodeName}, IPs: append([]net.IP{net.IPv4(127, 0, 0, 1)}, o.NodeIPs...), Usages: server}})
}

// machineNames are the names under which servers of this machine are reached.
func (f *Files) machineNames() ([]string, []net.IP) {
	hosts := []string{"localhost"}
	if f.opts.NodeName != "" {
		hosts = append(hosts, f.opts.NodeName)
	}
	return hosts, append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, f.opts.NodeIPs...)
}

// leaves checks every certificate and issues those anew that need it.
func (f *Files) leaves() error {
	log := slog.Default().With("component", "pki")
	f.next = f.CA.Cert.NotAfter
	for _, l := range f.table() {
		*l.at = f.pair(l.name)
		l.normalize()
		s, err := l.check(f.opts.Now())
		if err != nil {
			return err
		}
		if s.why != "" {
			renew, err := l.issue(f.opts.Now())
			switch {
			case err == nil:
				s.renew = renew
			case errors.Is(err, ErrNoKey) && s.usable:
				log.Warn("certificate cannot be renewed", "file", l.at.CertFile, "reason", s.why, "err", err)
				continue
			default:
				return fmt.Errorf("certificate %s (%s): %w", l.at.CertFile, s.why, err)
			}
			if s.why != missing {
				log.Info("certificate issued anew", "file", l.at.CertFile, "reason", s.why)
			}
		}
		if s.renew.Before(f.next) {
			f.next = s.renew
		}
	}
	return nil
}

// state is what check finds of a certificate.
type state struct {
	renew  time.Time // when it has to be renewed
	why    string    // why it should be issued now; empty when it should not
	usable bool      // it still does its work, whatever why says
}

const missing = "missing"

// check reads a certificate and judges it. An error is one that issuing would not mend.
func (l *leaf) check(now time.Time) (state, error) {
	certPEM, keyPEM, err := l.at.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return state{why: missing}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("reading a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return state{why: "unusable: " + err.Error()}, nil
	}
	c := pair.Leaf
	s := state{renew: renewAt(c), usable: now.Before(c.NotAfter)}
	switch {
	case c.CheckSignatureFrom(l.ca.Cert) != nil:
		return state{why: "not signed by the authority " + l.ca.CertFile}, nil
	case c.Subject.CommonName != l.CommonName || !slices.Equal(c.Subject.Organization, l.Organizations):
		s.why = "made for another subject: " + c.Subject.String()
	case !sameNames(c, &l.Request):
		s.why = "its names have changed"
	case !now.Before(s.renew) && c.NotAfter.Before(l.ca.Cert.NotAfter):
		s.why = "valid only until " + c.NotAfter.Format(time.RFC3339)
	}
	return s, l.tighten()
}

// issue makes the certificate and tells when it has to be renewed. Its loss in a crash
// is harmless, so nothing waits for the disk.
func (l *leaf) issue(now time.Time) (time.Time, error) {
	certPEM, keyPEM, err := l.ca.Issue(l.Request, now)
	if err != nil {
		return time.Time{}, err
	}
	if err := writePair(*l.at, certPEM, keyPEM, false); err != nil {
		return time.Time{}, err
	}
	certs, err := ParseCerts(certPEM)
	if err != nil {
		return time.Time{}, err
	}
	return renewAt(certs[0]), nil
}

// tighten takes back the rights to a key that others were given.
func (l *leaf) tighten() error {
	st, err := os.Stat(l.at.KeyFile)
	if err != nil || st.Mode().Perm()&0o077 == 0 {
		return err
	}
	return os.Chmod(l.at.KeyFile, 0o600)
}

// renewAt is when a third of the certificate's life remains.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// normalize sorts the names and drops doubles, so that their order never matters. Names that are addresses count as such.
func (l *leaf) normalize() {
	var hosts []string
	ips := slices.Clone(l.IPs)
	for _, h := range l.DNSNames {
		if ip := net.ParseIP(h); ip != nil {
			ips = append(ips, ip)
		} else if h != "" {
			hosts = append(hosts, strings.ToLower(h))
		}
	}
	sort.Strings(hosts)
	l.DNSNames = slices.Compact(hosts)
	sort.Slice(ips, func(i, j int) bool { return ips[i].String() < ips[j].String() })
	l.IPs = slices.CompactFunc(ips, net.IP.Equal)
}

func sameNames(c *x509.Certificate, r *Request) bool {
	have := slices.Clone(c.DNSNames)
	sort.Strings(have)
	ips := slices.Clone(c.IPAddresses)
	sort.Slice(ips, func(i, j int) bool { return ips[i].String() < ips[j].String() })
	return slices.Equal(have, r.DNSNames) && slices.EqualFunc(ips, r.IPs, net.IP.Equal)
}

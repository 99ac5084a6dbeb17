package pki

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListAndRenew(t *testing.T) {
	dir := t.TempDir()
	f, err := Ensure(dir, Options{NodeName: "n1", NodeIPs: []net.IP{net.IPv4(192, 0, 2, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !all[0].Cert.IsCA || all[0].Authority != all[0].Name {
		t.Errorf("first is %+v", all[0].Name)
	}
	by := map[string]Info{}
	for _, i := range all {
		by[i.Name] = i
	}
	for name, authority := range map[string]string{"apiserver": "ca", "etcd/server": "etcd/ca", "front-proxy-client": "front-proxy-ca"} {
		if by[name].Authority != authority {
			t.Errorf("%s is signed by %q, want %q", name, by[name].Authority, authority)
		}
	}

	old := by["apiserver"].Cert
	_, key, err := f.APIServer.Read()
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(24 * time.Hour)
	i, err := Renew(dir, "apiserver", later)
	if err != nil {
		t.Fatal(err)
	}
	if !i.Cert.NotAfter.After(old.NotAfter) || i.Cert.Subject.String() != old.Subject.String() || !sameNames(i.Cert, &Request{DNSNames: old.DNSNames, IPs: old.IPAddresses}) {
		t.Errorf("renewed: %v %v %v", i.Cert.NotAfter, i.Cert.Subject, i.Cert.DNSNames)
	}
	if _, again, err := f.APIServer.Read(); err != nil || string(again) == string(key) {
		t.Errorf("the key is the old one: %v", err)
	}
	// What was renewed is in order for whoever looks after the directory.
	if _, err := Ensure(dir, Options{NodeName: "n1", NodeIPs: []net.IP{net.IPv4(192, 0, 2, 1)}}); err != nil {
		t.Fatal(err)
	}
	if now, err := List(dir); err != nil || !contains(now, "apiserver", i) {
		t.Errorf("it was issued again: %v", err)
	}
	for name, want := range map[string]string{"ca": "authority", "nobody": "no certificate"} {
		if _, err := Renew(dir, name, later); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "broken.crt"), []byte("x"), 0o600, false); err != nil {
		t.Fatal(err)
	}
	if _, err := List(dir); err == nil || !strings.Contains(err.Error(), "broken.crt") {
		t.Errorf("a broken file: %v", err)
	}
}

func contains(all []Info, name string, want Info) bool {
	for _, i := range all {
		if i.Name == name {
			return i.Cert.Equal(want.Cert)
		}
	}
	return false
}

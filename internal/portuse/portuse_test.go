package portuse

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

func TestTheHolderIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = net.Listen("tcp", l.Addr().String())
	if err == nil {
		t.Fatal("two listeners on one port")
	}
	got := Explain(fmt.Errorf("role: %w", err))
	want := fmt.Sprintf("tcp port %d is held by process %d", l.Addr().(*net.TCPAddr).Port, os.Getpid())
	if !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
		t.Errorf("%v, want %q in it", got, want)
	}
	if again := Explain(got); again != got {
		t.Errorf("explained twice: %v", again)
	}

	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = net.ListenPacket("udp", p.LocalAddr().String())
	if got := Explain(err); !strings.Contains(got.Error(), fmt.Sprintf("held by process %d", os.Getpid())) {
		t.Error(got)
	}
}

func TestOtherErrorsStay(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), &net.OpError{Op: "dial", Err: errors.New("refused")}} {
		if got := Explain(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

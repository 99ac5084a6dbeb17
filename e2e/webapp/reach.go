package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"time"
)

// body is much more than fits a packet or a window: a wrong MTU or checksum on the way shows.
const body = 4 << 20

// reach sends to a server of this program, by TCP and by UDP, and checks what comes back.
func reach(address string) error {
	data := make([]byte, body)
	rand.New(rand.NewSource(1)).Read(data)
	tr := &http.Transport{DisableKeepAlives: true}
	c := http.Client{Timeout: 10 * time.Second, Transport: tr}
	res, err := c.Post("http://"+address+"/", "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return errors.New("TCP gave back something else")
	}
	// The second comes in fragments.
	for _, size := range []int{1200, 8000} {
		if err := ask(address, data[:size]); err != nil {
			return fmt.Errorf("UDP, %d bytes: %w", size, err)
		}
	}
	return nil
}

// tries bounds how often a datagram is sent: any may be lost.
const tries = 5

func ask(address string, data []byte) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	got := make([]byte, len(data)+1)
	for range tries {
		if _, err = conn.Write(data); err != nil {
			return err
		}
		if err = conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		var n int
		if n, err = conn.Read(got); err == nil {
			if !bytes.Equal(got[:n], data) {
				return errors.New("something else came back")
			}
			return nil
		}
	}
	return err
}

func echo(packets net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := packets.ReadFrom(buf)
		if err != nil {
			fmt.Println("UDP ended:", err)
			return
		}
		_, _ = packets.WriteTo(buf[:n], from) // whoever asked asks again
	}
}

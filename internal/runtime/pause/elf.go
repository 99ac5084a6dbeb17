// Package pause makes the image of the container that holds a pod's namespaces open: one file of about 200 bytes,
// assembled here, that sleeps until it is told to end and reaps what the pod's processes leave behind. Nothing has to be
// downloaded, and the container costs some 12 kB of memory.
package pause

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// machine is what differs between architectures.
type machine struct {
	elf  uint16 // e_machine
	page uint64 // largest page size that the kernel may have
	code []byte
}

// The program, for each architecture:
//
//	rt_sigprocmask(SIG_BLOCK, {INT, TERM, CHLD})
//	loop:  s = rt_sigtimedwait({INT, TERM, CHLD}, forever)
//	       if s == CHLD: while wait4(-1, WNOHANG) > 0 {}
//	       if s == INT or s == TERM: exit(0)
var machines = map[string]machine{
	"amd64": {elf: 62, page: 0x1000, code: []byte{
		0x68, 0x02, 0x40, 0x01, 0x00, // push 0x14002: the set, INT|TERM|CHLD
		0x31, 0xff, // xor edi, edi
		0x48, 0x89, 0xe6, // mov rsi, rsp
		0x31, 0xd2, // xor edx, edx
		0x6a, 0x08, 0x41, 0x5a, // push 8; pop r10
		0x6a, 0x0e, 0x58, // push 14; pop rax: rt_sigprocmask
		0x0f, 0x05, // syscall
		// loop:
		0x48, 0x89, 0xe7, // mov rdi, rsp
		0x31, 0xf6, // xor esi, esi
		0x31, 0xd2, // xor edx, edx
		0x6a, 0x08, 0x41, 0x5a, // push 8; pop r10
		0xb8, 0x80, 0x00, 0x00, 0x00, // mov eax, 128: rt_sigtimedwait
		0x0f, 0x05, // syscall
		0x3c, 0x11, // cmp al, 17
		0x74, 0x10, // je reap
		0x3c, 0x02, // cmp al, 2
		0x74, 0x04, // je exit
		0x3c, 0x0f, // cmp al, 15
		0x75, 0xe2, // jne loop
		// exit:
		0x31, 0xff, // xor edi, edi
		0x6a, 0x3c, 0x58, // push 60; pop rax: exit
		0x0f, 0x05, // syscall
		0x90, // nop
		// reap:
		0x6a, 0xff, 0x5f, // push -1; pop rdi
		0x31, 0xf6, // xor esi, esi
		0x6a, 0x01, 0x5a, // push 1; pop rdx: WNOHANG
		0x45, 0x31, 0xd2, // xor r10d, r10d
		0x6a, 0x3d, 0x58, // push 61; pop rax: wait4
		0x0f, 0x05, // syscall
		0x85, 0xc0, // test eax, eax
		0x7f, 0xec, // jg reap
		0xeb, 0xc4, // jmp loop
	}},
	"arm64": {elf: 183, page: 0x10000, code: words(
		0xd2880049, // movz x9, #0x4002
		0xf2a00029, // movk x9, #1, lsl #16: the set, INT|TERM|CHLD
		0xf81f0fe9, // str x9, [sp, #-16]!
		0xd2800000, // mov x0, #0
		0x910003e1, // mov x1, sp
		0xd2800002, // mov x2, #0
		0xd2800103, // mov x3, #8
		0xd28010e8, // mov x8, #135: rt_sigprocmask
		0xd4000001, // svc #0
		// loop (word 9):
		0x910003e0, // mov x0, sp
		0xd2800001, // mov x1, #0
		0xd2800002, // mov x2, #0
		0xd2800103, // mov x3, #8
		0xd2801128, // mov x8, #137: rt_sigtimedwait
		0xd4000001, // svc #0
		0x7100441f, // cmp w0, #17
		0x54000100, // b.eq reap (+8)
		0x7100081f, // cmp w0, #2
		0x54000060, // b.eq exit (+3)
		0x71003c1f, // cmp w0, #15
		0x54fffea1, // b.ne loop (-11)
		// exit (word 21):
		0xd2800000, // mov x0, #0
		0xd2800ba8, // mov x8, #93: exit
		0xd4000001, // svc #0
		// reap (word 24):
		0x92800000, // mov x0, #-1
		0xd2800001, // mov x1, #0
		0xd2800022, // mov x2, #1: WNOHANG
		0xd2800003, // mov x3, #0
		0xd2802088, // mov x8, #260: wait4
		0xd4000001, // svc #0
		0x7100001f, // cmp w0, #0
		0x54ffff2c, // b.gt reap (-7)
		0x17ffffe9, // b loop (-23)
	)},
}

func words(w ...uint32) []byte {
	var b []byte
	for _, x := range w {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

// Program is the executable for an architecture in Go's spelling, or an error where it has not been written.
func Program(arch string) ([]byte, error) {
	m, ok := machines[arch]
	if !ok {
		return nil, fmt.Errorf("no pause program for architecture %s: give a pause image of your own", arch)
	}
	const base, header, program = 0x400000, 64, 56
	size := uint64(header + program + len(m.code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), m.elf, uint32(1), // executable, machine, version
		uint64(base + header + program), uint64(header), uint64(0), // entry, program headers, section headers
		uint32(0), uint16(header), uint16(program), uint16(1), uint16(0), uint16(0), uint16(0),
		// The one segment: loadable, readable and executable, the whole file.
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, m.page,
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	b.Write(m.code)
	return b.Bytes(), nil
}

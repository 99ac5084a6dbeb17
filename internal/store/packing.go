package store

import (
	"bytes"
	"sync"
	"unsafe"
)

// A value is read or written in memory that came from the heap between many pieces of the same size which are garbage a moment
// later. Where one of a span's pieces stays, the whole span does: values that stay for hours would keep several times their own size.
// So what is not in use any more moves to blocks that hold nothing else.
const (
	// block bounds what the last survivor of a block's values keeps, in bytes.
	block = 16 << 10
	// packed values are smaller than that, in bytes, so that little of a block is left over.
	packed = block / 5
)

// packer fills blocks. A block goes when none of its values is left.
type packer struct {
	mu   sync.Mutex
	room []byte // rest of the newest block
}

// pack copies a value. What is not small enough gets memory of its own.
func (p *packer) pack(value []byte) []byte {
	if len(value) >= packed {
		return bytes.Clone(value)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.room) < len(value) {
		p.room = make([]byte, block)
	}
	out := p.room[:len(value):len(value)]
	p.room = p.room[len(value):]
	copy(out, value)
	return out
}

// value is what is stored, before encryption, in protobuf; nil: there is no other way to the object than decoded.
func (e *Entry) value() []byte {
	p := e.stored.Load()
	if p == nil {
		return nil
	}
	return unsafe.Slice(p, e.size) // as long as what setValue took
}

// setValue takes a value that is e.size bytes long.
func (e *Entry) setValue(value []byte) { e.stored.Store(unsafe.SliceData(value)) }

// settle moves the value to where it can stay, unless it has been replaced and goes soon.
func (e *Entry) settle() {
	const moved = settled | superseded
	if e.value() != nil && e.marks.Or(settled)&moved == 0 {
		e.setValue(e.coll.packer.pack(e.value()))
	}
}

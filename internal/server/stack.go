package server

// roomy is the stack that the handler of a request needs, in bytes.
const roomy = 10 << 10

// grow makes the stack of a new goroutine large enough for the handler of a request while it is nearly empty. It would be doubled by and by
// otherwise, each time in the midst of deep calls whose frames have all to be copied and their pointers found.
//
//go:noinline
func grow() byte {
	var room [roomy]byte
	return touch(&room)
}

//go:noinline
func touch(room *[roomy]byte) byte { return room[0] }

package stats

import "runtime"

func cores() int { return runtime.NumCPU() }

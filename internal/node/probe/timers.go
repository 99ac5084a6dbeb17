package probe

// timers is a heap of probes by the time at which they are due.
type timers []*prober

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].when.Before(t[j].when) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}
func (t *timers) Push(x any) {
	p := x.(*prober)
	p.index = len(*t)
	*t = append(*t, p)
}
func (t *timers) Pop() any {
	old := *t
	p := old[len(old)-1]
	p.index = -1
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return p
}

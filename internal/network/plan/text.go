package plan

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Block sizes for [Delta.Text].
const (
	// OneBlock writes each table in one transaction. The legacy tools read and write the whole table for each.
	OneBlock = 0
	// NFTBlock is how many chains the nft tools take at a time. They keep the names that a transaction mentions in a sorted list and walk it
	// for each line, so that their time grows with the square of a transaction: 14 s for 10,000 services in one, 1.5 s in blocks.
	// Smaller blocks would have the kernel check all jumps of the table too often.
	NFTBlock = 1500
)

// Text is the input for iptables-restore. Chains are written before those that lead to them, and removed after, so
// that each block by itself leaves the table whole: packets see the old or the new rules of a port.
func (d *Delta) Text(block int) []byte {
	var b bytes.Buffer
	if !d.filter.empty() {
		b.WriteString("*filter\n")
		d.filter.write(&b)
		b.WriteString("COMMIT\n")
	}
	if d.nat.empty() && len(d.own)+len(d.gone) == 0 {
		return b.Bytes()
	}
	b.WriteString("*nat\n")
	w := &blocks{b: &b, size: block}
	for _, c := range d.nat.declare { // they are led to from everywhere, but written last
		if !led(c) {
			continue
		}
		w.declare(c)
		d.nat.writeOf(&b, c)
	}
	d.writeOwn(w)
	w.cut(1)
	for _, c := range d.nat.declare {
		if !led(c) {
			w.declare(c)
		}
	}
	for _, l := range d.nat.lines {
		if !ofLed(l) {
			b.WriteString(l + "\n")
		}
	}
	w.cut(1)
	d.removeOwn(w)
	for _, c := range d.nat.remove {
		b.WriteString("-X " + c + "\n")
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}

// led tells whether ports' chains lead to the shared chain, which must exist before them.
func led(chain string) bool { return chain == natMark.Name }

func ofLed(line string) bool { return strings.HasPrefix(line, "-A "+natMark.Name+" ") }

func (s *section) write(b *bytes.Buffer) {
	for _, c := range s.declare {
		b.WriteString(":" + c + " - [0:0]\n")
	}
	for _, l := range s.lines {
		b.WriteString(l + "\n")
	}
	for _, c := range s.remove {
		b.WriteString("-X " + c + "\n")
	}
}

func (s *section) writeOf(b *bytes.Buffer, chain string) {
	for _, l := range s.lines {
		if strings.HasPrefix(l, "-A "+chain+" ") {
			b.WriteString(l + "\n")
		}
	}
}

// blocks cuts a table's text into transactions.
type blocks struct {
	b        *bytes.Buffer
	size, in int
}

func (w *blocks) declare(chain string) {
	w.b.WriteString(":" + chain + " - [0:0]\n")
	w.in++
}

// cut ends the transaction if it holds at least a share of the block size: the whole for 0, anything over
// a tenth for 1.
func (w *blocks) cut(early int) {
	if w.size == OneBlock || w.in < w.size && (early == 0 || w.in < w.size/10) {
		return
	}
	w.b.WriteString("COMMIT\n*nat\n")
	w.in = 0
}

// writeOwn writes the chains of endpoints, then those that choose one, then those that lead there, each sort from the last name
// to the first: the tools find names at the head of their list fastest.
func (d *Delta) writeOwn(w *blocks) {
	own := slices.Clone(d.own)
	slices.SortFunc(own, func(a, b OwnChain) int {
		return cmp.Or(cmp.Compare(rankOf(a.Name), rankOf(b.Name)), -strings.Compare(a.Name, b.Name))
	})
	for i, c := range own {
		if i > 0 && rankOf(own[i-1].Name) != rankOf(c.Name) {
			w.cut(1)
		} else if rankOf(c.Name) > 0 { // endpoints' chains lead to none but the one that marks
			w.cut(0)
		}
		w.declare(c.Name)
		for _, r := range c.Rules {
			w.b.WriteString("-A " + c.Name + " " + r + "\n")
		}
	}
}

func (d *Delta) removeOwn(w *blocks) {
	gone := slices.Clone(d.gone)
	slices.SortFunc(gone, func(a, b string) int {
		return cmp.Or(-cmp.Compare(rankOf(a), rankOf(b)), -strings.Compare(a, b))
	})
	for _, c := range gone { // all are emptied first: they lead to each other
		w.declare(c)
	}
	for _, c := range gone {
		w.b.WriteString("-X " + c + "\n")
	}
}

// rankOf orders ports' chains so that one leads only to lower ones.
func rankOf(chain string) int {
	for i, prefix := range []string{"KUBE-SEP-", "KUBE-SV", "KUBE-EXT-", "KUBE-FW-"} {
		if strings.HasPrefix(chain, prefix) {
			return i
		}
	}
	return 4
}

// byTarget orders rules of shared chains by where they lead, the last name first.
func byTarget(a, b string) int {
	return cmp.Or(-strings.Compare(target(a), target(b)), strings.Compare(a, b))
}

func target(rule string) string {
	return rule[strings.LastIndex(rule, "-j ")+len("-j "):]
}

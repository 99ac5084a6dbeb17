package apply

import (
	"bytes"
	"strings"
)

// Jump is a rule of a built-in chain that leads into one of ours. Match is written as iptables-save prints it, so
// that a rule already there is recognised.
type Jump struct {
	From, To, Match string
	// Last appends the rule; others are put first in the chain.
	Last bool
}

func (j Jump) spec() string {
	if j.Match == "" {
		return j.From + " -j " + j.To
	}
	return j.From + " " + j.Match + " -j " + j.To
}

// MissingJumps gives the restore lines that add those jumps which saved, the output of iptables-save
// for the table, does not have.
func MissingJumps(saved []byte, jumps []Jump) []string {
	have := ruleSet(saved)
	var lines []string
	for i := len(jumps) - 1; i >= 0; i-- { // insertion at the head turns the order round
		j := jumps[i]
		if have["-A "+j.spec()] {
			continue
		}
		if j.Last {
			lines = append(lines, "-A "+j.spec())
		} else {
			lines = append(lines, "-I "+j.spec())
		}
	}
	return lines
}

// PresentJumps gives the restore lines that remove those jumps which saved has, as often as it has them.
func PresentJumps(saved []byte, jumps []Jump) []string {
	var lines []string
	for _, line := range bytes.Split(saved, []byte("\n")) {
		for _, j := range jumps {
			if string(line) == "-A "+j.spec() {
				lines = append(lines, "-D "+j.spec())
			}
		}
	}
	return lines
}

func ruleSet(saved []byte) map[string]bool {
	have := map[string]bool{}
	for _, line := range bytes.Split(saved, []byte("\n")) {
		if bytes.HasPrefix(line, []byte("-A ")) {
			have[string(line)] = true
		}
	}
	return have
}

// Chains lists the user-defined chains in saved, the output of iptables-save for one table.
func Chains(saved []byte) []string {
	var out []string
	for _, line := range strings.Split(string(saved), "\n") {
		name, ok := strings.CutPrefix(line, ":")
		if !ok {
			continue
		}
		fields := strings.Fields(name)
		if len(fields) > 1 && fields[1] == "-" {
			out = append(out, fields[0])
		}
	}
	return out
}

// Rules gives the rules of each user-defined chain in saved, the output of iptables-save for one table, without "-A" and the chain's
// name. Chains without rules are there too.
func Rules(saved []byte) map[string][]string {
	out := map[string][]string{}
	for _, line := range strings.Split(string(saved), "\n") {
		if name, ok := strings.CutPrefix(line, ":"); ok {
			if fields := strings.Fields(name); len(fields) > 1 && fields[1] == "-" {
				out[fields[0]] = nil
			}
			continue
		}
		rule, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		chain, rule, _ := strings.Cut(rule, " ")
		if rules, ok := out[chain]; ok {
			out[chain] = append(rules, rule)
		}
	}
	return out
}

// Package apply carries wanted packet filter rules and kernel settings into the kernel of the
// network namespace that the process runs in. What is wanted is decided elsewhere (package
// plan and the owners of other rules); nothing here knows about Services.
//
// [IPTables] talks to the xtables tools of the machine, legacy or nft, whichever holds Kubernetes' rules already.
// Every change is one iptables-restore with --noflush: all of its lines take effect or none does, and a
// table's readers never see half of it. Restores of one [IPTables] run one after another;
// other programs are kept out by the tool's own lock for at most [LockWait].
package apply

// Package plan decides which packet filter rules make Services work. It is pure: the same Services, EndpointSlices, node
// and configuration always give the same text, and nothing here touches the kernel or the clock.
//
// [PortsOf] and [EndpointsOf] read the API's objects, [Select] picks the endpoints that traffic may go to, [Rules] of one port
// of one Service are rendered by [Config.Render], and a [Delta] collects what must change in the kernel into one input
// for iptables-restore. A port owns chains of its own (KUBE-SVC-…, KUBE-SVL-…, KUBE-EXT-…, KUBE-FW-…,
// KUBE-SEP-…) and single rules in chains that all ports share (KUBE-SERVICES, KUBE-NODEPORTS, …), so that a
// change of one port writes its own chains and its own rules only. Chains, comments and marks are those that
// administrators know from upstream's kube-proxy; as there, comments are left out of ports' own chains when endpoints are many
// ([Config.Brief]).
//
// # What a change costs
//
// The text of a change is as small as the change. The kernel's part is not: whenever a jump is added, nftables walks all rules that can
// be reached from the table's base chains, so the commit of one new Service beside 10,000 takes about 37 ms of CPU (58 ms with all
// comments) even for a bare iptables-restore, and that of all 10,000 at once 1.5 s, half of it in the kernel. To delete a rule, the tool reads its whole chain first.
package plan

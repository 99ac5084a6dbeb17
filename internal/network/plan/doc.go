// Package plan decides which packet filter rules make Services work. It is pure: the same Services, EndpointSlices, node
// and configuration always give the same text, and nothing here touches the kernel or the clock.
//
// [PortsOf] and [EndpointsOf] read the API's objects, [Select] picks the endpoints that traffic may go to, [Rules] of one port
// of one Service are rendered by [Config.Render], and a [Delta] collects what must change in the kernel into one input
// for iptables-restore. A port owns chains of its own (KUBE-SVC-…, KUBE-SVL-…, KUBE-EXT-…, KUBE-FW-…,
// KUBE-SEP-…) and single rules in chains that all ports share (KUBE-SERVICES, KUBE-NODEPORTS, …), so that a
// change of one port writes its own chains and its own rules only. Chains, comments and marks are those that
// administrators know from upstream's kube-proxy.
package plan

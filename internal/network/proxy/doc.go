// Package proxy makes Services work on one node: packets to a Service's addresses are sent to one of its endpoints by rules in
// the kernel's packet filter.
//
// [Proxy] watches Services, EndpointSlices and its own Node. What changed since the last write is collected while a write
// runs and goes into the next one; the first change after a rest is written at once. A write concerns only the
// ports of Services that changed (package plan). Everything is written anew at the start, when a write fails, when somebody flushed the rules,
// when the node's own properties change, and every Config.SyncPeriod.
//
// After a write tracked UDP flows to endpoints that are gone are forgotten, since the kernel would keep sending to them for
// as long as packets come. TCP connections are left alone: they end by themselves.
//
// Until the first full write nothing of what an earlier process left is touched, so connections survive a restart.
package proxy

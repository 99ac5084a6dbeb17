// Package verdicts holds the API server to what upstream's live server says of objects, good and bad: status code, reason,
// message, causes and their order, warnings, and for what is accepted the object with its defaults.
//
// testdata/requests holds objects of every kind, by hand, and requests by hand for what spans several fields. From each object the
// tests make hundreds of requests more: every field once missing, empty, doubled, too long, negative and so on (vary_test.go).
// testdata/answers holds, packed, each request with upstream's answer. The tests ask our server the same and compare. To record
// the answers of another version, start its API server on an empty datastore, with its defaults and
// --service-cluster-ip-range=10.96.0.0/12 --allow-privileged, and run
//
//	go test ./internal/server/verdicts -run TestRecord -record KUBECONFIG [-only FILE]
//
// testdata/differing.txt counts the answers that are not upstream's. Some stay so for a reason:
//   - Service: upstream chooses addresses and ports before it judges the service, ours after. Of a service that is wrong in both ways
//     each tells what it comes upon first. In trials, upstream takes ports for health checks from behind the highest port asked for,
//     which may be no port.
//   - Pod, resize: upstream leaves it to what a node says of itself whether containers that have ended may be resized; ours refuses it.
package verdicts

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
package verdicts

// Package crd serves custom resources: for each CustomResourceDefinition it puts a row into the object table, from which
// everything else follows as for built-in kinds.
//
// A definition goes through these states, which its conditions tell:
//
//	created → NamesAccepted (nobody else in the group uses its names) → row in the table → Established
//	deleted → Terminating: no new objects, the old ones are deleted → finalizer gone → row gone
//
// A row is never changed. When the definition's specification changes, a new row takes its place; requests that have begun go on
// with the old one, and watches end and are begun anew by their clients. Objects are held in memory and in etcd in the
// storage version; the other versions are converted, by renaming alone or by the definition's webhook. What a
// version's schema needs (the structural form, the validator, the compiled CEL rules, the types of server-side apply)
// is made at its first use, so that hundreds of definitions that nobody uses cost little.
//
// Several API servers may share one etcd: each keeps its own table by its own watch, and writes to the definitions
// are guarded by their resourceVersion.
package crd

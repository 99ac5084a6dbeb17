// Package store keeps versioned objects in etcd and one watchable cache per kind in front of it.
//
// # Life of a write
//
// [Collection.Create], [Collection.Update] and [Collection.Delete] each are one etcd transaction on one key, guarded by the
// key's mod revision; that revision is the object's resourceVersion. Two objects never share one, except objects that
// etcd itself removes together because their lease ran out. Many transactions may be in flight; none waits for another.
// An update reads the cache first, and etcd when the cache turns out to be behind.
//
// # Life of an event
//
// One etcd watch over the whole prefix feeds all collections, in revision order: a single watch gives one
// revision for all kinds, so that a read that must be the newest needs no round trip per kind. A value that this process
// wrote itself is not decoded again. Each collection applies an event to its ordered tree, appends it to its window of
// recent events, and offers it to its topics. A topic is one distinct selector with a log of its own, in which the filter is evaluated once
// however many watchers share it; watchers are cursors in that log. Topics that name an object, a namespace or a node are found by
// index, so an event costs nothing for watchers that select other nodes.
//
// # Guarantees
//
//   - Ordered: a watcher sees events in the order of their revisions.
//   - Reliable: no event between the start of a watch and its end is left out.
//   - Resumable: a watch from revision r sees exactly the events after r, or fails with 410 Expired at once.
//   - Bookmarkable: a bookmark of revision r says that every event up to r was delivered.
//   - Isolated: a watcher that reads too slowly is ended with 410 and slows nobody; applying an event never waits for a reader.
//   - Fresh: a read without resourceVersion sees every write that was acknowledged before the read began.
//   - Snapshot: a list shows one revision; its pages show the same one.
//
// When the etcd watch breaks, it goes on where it stopped. When etcd has compacted that point away, every collection is listed
// anew and its watchers are ended with 410, since what happened in between cannot be told.
//
// # Encryption
//
// A [Transformer] may encrypt values on their way to etcd. A value that it would not write as it is stored is stale, and written anew by the next
// update, also by one that changes nothing. While a key cannot be had, reads wait; they do not show holes.
//
// # Sharing
//
// An [Entry] is one version of one object, never changed, shared by the tree, the events and every reader. Its encodings are
// made once per format and kept as long as the store's byte budget allows. What an entry has for ever is the stored value, in one
// piece; its object is decoded when somebody asks, and given up again.
package store

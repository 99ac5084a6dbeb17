package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3/raftpb"
)

// campaign makes a lone member leader as soon as raft allows, in place of waiting for a random election timeout of
// several ticks. The message is raft's own "time out now", which a leader sends to the follower that it hands over to.
// Raft ignores it while the log's changes of membership are not applied, and tells nobody
// when they are; so it is repeated, each millisecond, until there is a leader: a few times at most on a
// healthy disk. When it never helps, the election timeout does its work.
func campaign(ctx context.Context, s *etcdserver.EtcdServer) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Lead() == 0 {
		if id := uint64(s.MemberID()); s.CommittedIndex() == s.AppliedIndex() && len(s.Cluster().Members()) == 1 {
			err := s.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &id, From: &id})
			if err != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-s.ReadyNotify():
			return
		case <-s.StopNotify():
			return
		case <-ctx.Done():
			return
		}
	}
}

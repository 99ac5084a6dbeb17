package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3/raftpb"
)

// campaignTimeout is when campaign leaves the rest to raft's own timeout.
const campaignTimeout = 30 * time.Second

// lead campaigns in the background; the channel is closed when there is a leader, or no campaigning that helps.
func lead(ctx context.Context, s *etcdserver.EtcdServer) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		campaign(ctx, s)
		close(done)
	}()
	return done
}

// campaign makes a lone member leader as soon as raft allows, in place of waiting for a random election timeout of
// several ticks. The message is raft's own "time out now", which a leader sends to the follower that it hands over to.
//
// It must not come before raft itself knows that all committed entries are applied: raft would look through the
// others for changes of membership, and the server may have dropped them from its log already, which raft takes for
// corruption. Nobody tells when that moment has come, so it is looked for each millisecond until there is a leader: a few times
// at most on a healthy disk. When it is not found, the election timeout does its work.
func campaign(ctx context.Context, s *etcdserver.EtcdServer) {
	ctx, cancel := context.WithTimeout(ctx, campaignTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Lead() == 0 {
		if id := uint64(s.MemberID()); len(s.Cluster().Members()) == 1 && settled(id) {
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

// settled says whether the raft of the member has applied all that it knows to be committed. Without a leader nothing
// is committed, so it stays true.
func settled(id uint64) bool {
	st, ok := status(id)
	return ok && st.Applied > 0 && st.Applied == st.GetCommit()
}

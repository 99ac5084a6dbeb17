package audit

import (
	"encoding/json"
	"maps"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Truncate bounds events and batches, in bytes of JSON.
type Truncate struct{ MaxEvent, MaxBatch int }

// truncated is set to "true" on events that lost their bodies.
const truncated = "audit.k8s.io/truncated"

// split takes the bodies off events that are too large, drops those that still are, and makes batches that are not too large.
func (t *Truncate) split(events []*auditv1.Event) (batches [][]*auditv1.Event, dropped int) {
	var cur []*auditv1.Event
	size := 0
	for _, ev := range events {
		n := sizeOf(ev)
		if n > t.MaxEvent {
			ev = withoutBodies(ev)
			if n = sizeOf(ev); n > t.MaxEvent {
				dropped++
				continue
			}
		}
		if len(cur) > 0 && size+n > t.MaxBatch {
			batches, cur, size = append(batches, cur), nil, 0
		}
		cur, size = append(cur, ev), size+n
	}
	if len(cur) > 0 {
		batches = append(batches, cur)
	}
	return batches, dropped
}

func sizeOf(ev *auditv1.Event) int {
	data, err := json.Marshal(ev)
	if err != nil {
		return 0 // the sink will say why
	}
	return len(data)
}

func withoutBodies(ev *auditv1.Event) *auditv1.Event {
	short := *ev // shared with other outlets
	short.RequestObject, short.ResponseObject = nil, nil
	short.Annotations = maps.Clone(ev.Annotations)
	if short.Annotations == nil {
		short.Annotations = map[string]string{}
	}
	short.Annotations[truncated] = "true"
	return &short
}

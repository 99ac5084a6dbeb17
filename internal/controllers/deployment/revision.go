package deployment

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/rand"
)

// The annotations by which a roll-out and its history are kept on replica sets. They are upstream's, so that
// kubectl rollout finds them.
const (
	RevisionAnnotation        = "deployment.kubernetes.io/revision"
	RevisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	DesiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	MaxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"
)

// longestHistory bounds the revision-history annotation, in bytes.
const longestHistory = 2000

// notCopied are the annotations of a Deployment that its replica sets do not get.
var notCopied = []string{
	corev1.LastAppliedConfigAnnotation, RevisionAnnotation, RevisionHistoryAnnotation,
	DesiredReplicasAnnotation, MaxReplicasAnnotation, appsv1.DeprecatedRollbackTo,
}

// templateHash names a template: the label pod-template-hash and the end of the replica set's name. collisions
// makes another name for the same template, where a name is taken.
func templateHash(t *corev1.PodTemplateSpec, collisions *int32) (string, error) {
	data, err := t.Marshal() // protobuf with sorted maps: one template has one encoding
	if err != nil {
		return "", fmt.Errorf("encoding the pod template: %w", err)
	}
	h := fnv.New32a()
	h.Write(data)
	if collisions != nil {
		h.Write(strconv.AppendInt(nil, int64(*collisions), 10))
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10)), nil
}

// sameTemplate compares two templates but for the label pod-template-hash.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	x, y := *a, *b
	x.Labels, y.Labels = unhashed(a.Labels), unhashed(b.Labels)
	return apiequality.Semantic.DeepEqual(&x, &y)
}

func unhashed(l map[string]string) map[string]string {
	if _, ok := l[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return l
	}
	l = maps.Clone(l)
	delete(l, appsv1.DefaultDeploymentUniqueLabelKey)
	return l
}

func revision(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[RevisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// nextRevision follows the highest among the old ones.
func nextRevision(old []*appsv1.ReplicaSet) int64 {
	highest := int64(0)
	for _, rs := range old {
		highest = max(highest, revision(rs))
	}
	return highest + 1
}

// surplus are the old sets beyond limit, lowest revision first; those being deleted do not count.
func surplus(old []*appsv1.ReplicaSet, limit int) []*appsv1.ReplicaSet {
	var sets []*appsv1.ReplicaSet
	for _, rs := range old {
		if rs.DeletionTimestamp == nil {
			sets = append(sets, rs)
		}
	}
	if len(sets) <= limit {
		return nil
	}
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int { return cmp.Compare(revision(a), revision(b)) })
	return sets[:len(sets)-limit]
}

// annotated reads a number from an annotation.
func annotated(rs *appsv1.ReplicaSet, name string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[name], 10, 32)
	return int32(n), err == nil
}

// annotateSize writes the sizes of d into rs, and says whether that changed anything.
func annotateSize(rs *appsv1.ReplicaSet, d *appsv1.Deployment) bool {
	surge, _ := fenceposts(d)
	a := set(rs, DesiredReplicasAnnotation, strconv.Itoa(int(*d.Spec.Replicas)))
	b := set(rs, MaxReplicasAnnotation, strconv.Itoa(int(*d.Spec.Replicas+surge)))
	return a || b
}

// annotate gives rs the annotations of d and the revision, and says whether that changed anything. A set that
// is used again (a roll-back) keeps the revisions it had before in its history.
func annotate(rs *appsv1.ReplicaSet, d *appsv1.Deployment, rev int64) (changed bool) {
	for k, v := range d.Annotations {
		if !slices.Contains(notCopied, k) && set(rs, k, v) {
			changed = true
		}
	}
	was := revision(rs)
	if was >= rev {
		return changed
	}
	had, existed := rs.Annotations[RevisionAnnotation]
	set(rs, RevisionAnnotation, strconv.FormatInt(rev, 10))
	if existed && had != "" {
		set(rs, RevisionHistoryAnnotation, addHistory(rs.Annotations[RevisionHistoryAnnotation], had))
	}
	return true
}

func addHistory(history, rev string) string {
	if history == "" {
		return rev
	}
	history += "," + rev
	for len(history) > longestHistory {
		_, rest, ok := strings.Cut(history, ",")
		if !ok {
			return rev
		}
		history = rest
	}
	return history
}

func set(rs *appsv1.ReplicaSet, k, v string) bool {
	if got, ok := rs.Annotations[k]; ok && got == v {
		return false
	}
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[k] = v
	return true
}

// Package history keeps the past templates of a controller as ControllerRevisions (apps/v1), the way that kubectl rollout
// reads them: data is a strategic merge patch that puts a template back.
//
// The functions that decide are pure; the writing ones block for their requests.
package history

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"

	"hyperkube/internal/client"
)

// HashLabel is the label of revisions and of the pods made from them.
const HashLabel = appsv1.ControllerRevisionHashLabelKey

// Data is the patch that puts a template back.
func Data(t *corev1.PodTemplateSpec) ([]byte, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encoding the pod template: %w", err)
	}
	var template map[string]any
	if err := json.Unmarshal(raw, &template); err != nil {
		return nil, fmt.Errorf("encoding the pod template: %w", err)
	}
	template["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
}

// Hash names a template. collisions makes another name for the same template, where a name is taken.
func Hash(data []byte, collisions *int32) string {
	h := fnv.New32a()
	h.Write(data)
	if collisions != nil {
		h.Write(strconv.AppendInt(nil, int64(*collisions), 10))
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// Holds says whether a revision holds this data, however the JSON is laid out.
func Holds(r *appsv1.ControllerRevision, data []byte) bool {
	if bytes.Equal(r.Data.Raw, data) {
		return true
	}
	var v any
	if err := json.Unmarshal(r.Data.Raw, &v); err != nil {
		return false
	}
	canonical, err := json.Marshal(v)
	return err == nil && bytes.Equal(canonical, data)
}

// Split sorts revisions into those that hold the data, newest first, and the others, oldest first.
func Split(all []*appsv1.ControllerRevision, data []byte) (current, old []*appsv1.ControllerRevision) {
	for _, r := range all {
		if Holds(r, data) {
			current = append(current, r)
		} else {
			old = append(old, r)
		}
	}
	byRevision := func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(old, byRevision)
	slices.SortFunc(current, func(a, b *appsv1.ControllerRevision) int { return byRevision(b, a) })
	return current, old
}

// Next is the number after the highest.
func Next(old []*appsv1.ControllerRevision) int64 {
	highest := int64(0)
	for _, r := range old {
		highest = max(highest, r.Revision)
	}
	return highest + 1
}

// New makes the revision of an owner's template, not yet written.
func New(owner metav1.Object, kind schema.GroupVersionKind, t *corev1.PodTemplateSpec, data []byte, hash string, revision int64) *appsv1.ControllerRevision {
	labels := make(map[string]string, len(t.Labels)+1)
	maps.Copy(labels, t.Labels)
	labels[HashLabel] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.GetNamespace(), Name: owner.GetName() + "-" + hash,
			Labels: labels, Annotations: maps.Clone(owner.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: revision,
	}
}

// Create writes a revision. Where its name is taken, taken is the one that has it.
func Create(ctx context.Context, c client.Interface, r *appsv1.ControllerRevision) (got, taken *appsv1.ControllerRevision, err error) {
	got, err = client.ControllerRevisions.Create(ctx, c, r)
	if !apierrors.IsAlreadyExists(err) {
		return got, nil, err
	}
	taken, err = client.ControllerRevisions.Get(ctx, c, r.Namespace, r.Name)
	return nil, taken, err
}

// Trim deletes the oldest of the old revisions beyond limit, but none that is in use.
func Trim(ctx context.Context, c client.Interface, old []*appsv1.ControllerRevision, limit int, inUse func(*appsv1.ControllerRevision) bool) error {
	surplus := len(old) - limit
	for _, r := range old {
		if surplus <= 0 {
			return nil
		}
		if inUse(r) {
			continue
		}
		err := c.Delete(ctx, client.ControllerRevisions.GVR, r.Namespace, r.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(r.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		surplus--
	}
	return nil
}

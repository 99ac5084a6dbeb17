package podset

import (
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Creating creates n pods of owner by do, a few first and then more and more at once, and expects the echo of each. It returns how many
// could be made and the first error; a namespace that is ending is none.
func (e *Expectations[K]) Creating(owner K, n int, do func(i int) error) (done int, err error) {
	if n == 0 {
		return 0, nil
	}
	e.ExpectCreates(owner, n, time.Now())
	var tried atomic.Int64
	done, err = SlowStart(n, func(i int) error {
		tried.Add(1)
		err := do(i)
		if err != nil {
			e.Created(owner)
		}
		return err
	})
	for range n - int(tried.Load()) {
		e.Created(owner)
	}
	if errors.Is(err, ErrNamespaceEnding) {
		err = nil
	}
	return done, err
}

// Deleting deletes pods of owner by do, all at once, and expects the echo of each. It returns how many are gone or going and the first
// error; a pod that is gone already is none.
func (e *Expectations[K]) Deleting(owner K, pods []*corev1.Pod, do func(*corev1.Pod) error) (done int, err error) {
	if len(pods) == 0 {
		return 0, nil
	}
	uids := make([]types.UID, len(pods))
	for i, p := range pods {
		uids[i] = p.UID
	}
	e.ExpectDeletes(owner, time.Now(), uids...)
	return Together(len(pods), func(i int) error {
		err := do(pods[i])
		if err != nil {
			e.Deleted(owner, pods[i].UID)
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

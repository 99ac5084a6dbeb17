package store

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The texts are upstream's: clients and tests compare some of them.

func errTooOld(rev, oldest int64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", rev, oldest))
}

func errTooLarge(rev, current int64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", rev, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type:    metav1.CauseTypeResourceVersionTooLarge,
		Message: "Too large resource version",
	}}
	return err
}

func errListExpired() error {
	return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
}

// errContinueExpired carries a token with which the list can go on at the newest revision.
func errContinueExpired(token string) error {
	err := apierrors.NewResourceExpired("The provided continue parameter is too old " +
		"to display a consistent list result. You can start a new list without " +
		"the continue parameter, or use the continue token in this response to " +
		"retrieve the remainder of the results. Continuing with the provided " +
		"token results in an inconsistent list - objects that were created, " +
		"modified, or deleted between the time the first chunk was returned " +
		"and now may show up in the list.")
	err.ErrStatus.ListMeta.Continue = token
	return err
}

func errSlowWatcher(rev, oldest int64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("the watch fell too far behind: its next event is after resource version %d, the oldest that is kept after %d", rev, oldest))
}

func errHistoryLost() error {
	return apierrors.NewResourceExpired("the watch cannot go on: the history since its last event was compacted")
}

func errCollectionReplaced() error {
	return apierrors.NewResourceExpired("the resource has changed or is no longer served")
}

func errStoreClosed() error {
	return apierrors.NewServiceUnavailable("the server is shutting down")
}

func errBadVersion(rv string, err error) *field.Error {
	return field.Invalid(field.NewPath("resourceVersion"), rv, err.Error())
}

func (c *Collection) errNotFound(name string) error {
	return apierrors.NewNotFound(c.kind.GroupResource(), name)
}

func (c *Collection) errConflict(name string) error {
	return apierrors.NewConflict(c.kind.GroupResource(), name, errors.New(
		"the object has been modified; please apply your changes to the latest version and try again"))
}

func errUndecodable(key string, err error) error {
	return apierrors.NewInternalError(fmt.Errorf("the stored value of %s cannot be decoded: %w", key, err))
}

// errEtcd turns an error of etcd into one of the API.
func errEtcd(op string, gr schema.GroupResource, err error) error {
	switch {
	case err == nil || isDone(err):
		return err
	case errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail),
		errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost), errors.Is(err, rpctypes.ErrTimeoutWaitAppliedIndex):
		return apierrors.NewServerTimeout(gr, op, 2)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), strings.Contains(err.Error(), "trying to send message larger than max"):
		return apierrors.NewRequestEntityTooLargeError("etcdserver: request is too large")
	case errors.Is(err, rpctypes.ErrNoSpace):
		return apierrors.NewInternalError(fmt.Errorf("%s %s: %w", op, gr, err))
	}
	return apierrors.NewInternalError(fmt.Errorf("%s %s in etcd: %w", op, gr, err))
}

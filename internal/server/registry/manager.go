package registry

import (
	"fmt"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/request"
)

// track records who changes which fields by an update.
func (u *updating) track(obj, old object.Object) (object.Object, error) {
	sub := u.t.subName()
	if u.o.TrackAs != "" {
		sub = u.o.TrackAs
	}
	return u.r.cfg.Managers.Track(u.t.Kind, u.t.Version, sub, obj, old, managerOf(u.req, u.o.Manager))
}

// keepManagers undoes what admission did to the managers of an object where that makes no sense.
func keepManagers(a *admission.Attributes, before []metav1.ManagedFieldsEntry) {
	now := a.Object.GetManagedFields()
	if len(now) == len(before) && (len(now) == 0 || &now[0] == &before[0]) {
		return
	}
	if err := managedfields.ValidateManagedFields(now); err != nil {
		a.Object.SetManagedFields(before)
		a.Warn(fmt.Sprintf(".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: %v", err))
	}
}

// managerOf is the manager that a request names, or else the program that sent it: its user agent up to the first slash.
func managerOf(req *request.Request, manager string) string {
	const longest = 128
	if manager == "" {
		manager, _, _ = strings.Cut(req.UserAgent, "/")
		manager = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, manager)
	}
	if len(manager) > longest {
		manager = manager[:longest]
	}
	if manager == "" {
		manager = "unknown"
	}
	return manager
}

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/quota"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/store"
)

// charge takes what a write needs from the quotas of its namespace, or refuses the write. It is the admission plugin
// ResourceQuota, but runs last of all, when only the store can still refuse: what was taken is given back then. Each quota is
// charged by one guarded write of its status, so that many servers together never admit too much; the writes of one server into a
// namespace are charged one after the other, when all quotas have been asked.
func (s *Server) charge(ctx context.Context, t registry.Target, obj, old object.Object, dryRun bool) (refund func(), err error) {
	none := func() {}
	if s.parts.NoQuota || t.Kind.Scope != object.Namespaced || t.Sub != nil && t.Sub.Name != "resize" {
		return none, nil
	}
	quotas, err := s.row("", "v1", "resourcequotas")
	if err != nil {
		return none, nil // a table without quotas
	}
	page, err := s.registry.Collection(quotas.Kind).List(ctx, store.ListOptions{Namespace: obj.GetNamespace(), ResourceVersion: "0"})
	if err != nil || len(page.Entries) == 0 && len(s.parts.Limited) == 0 {
		return none, err
	}
	d := demand{s: s, quotas: quotas, gr: t.Kind.GroupResource(), obj: obj, old: old, now: time.Now()}
	var inScope []*corev1.ResourceQuota
	for _, e := range page.Entries {
		if q, ok := e.Object().(*corev1.ResourceQuota); ok && quota.InScope(q, obj) {
			inScope = append(inScope, q)
		}
	}
	if err := d.limited(s.parts.Limited, inScope); err != nil {
		return none, apierrors.NewForbidden(d.gr, nameOf(obj), err)
	}
	var claims []claim
	for _, q := range inScope {
		wanted, err := d.wanted(q)
		if err != nil {
			return none, apierrors.NewForbidden(d.gr, nameOf(obj), err)
		}
		if len(wanted) > 0 {
			claims = append(claims, claim{q, wanted})
		}
	}
	if len(claims) == 0 {
		return none, nil
	}
	// One write at a time asks the quotas of a namespace: it never sees what another one took from the first of them and
	// is about to give back because the second refused.
	done, err := s.charging.Wait(ctx, obj.GetNamespace())
	if err != nil {
		return none, err
	}
	defer done()
	for _, c := range claims {
		if err := d.ask(ctx, c); err != nil {
			return none, apierrors.NewForbidden(d.gr, nameOf(obj), err)
		}
	}
	if dryRun {
		return none, nil
	}
	var taken []func()
	refund = func() {
		for _, f := range taken {
			f()
		}
	}
	for _, c := range claims {
		back, err := d.take(ctx, c)
		if err != nil {
			refund()
			return none, apierrors.NewForbidden(d.gr, nameOf(obj), err)
		}
		taken = append(taken, back)
	}
	return refund, nil
}

func nameOf(obj object.Object) string {
	if obj.GetName() == "" {
		return obj.GetGenerateName()
	}
	return obj.GetName()
}

// demand is what one write needs.
type demand struct {
	s        *Server
	quotas   registry.Target
	gr       schema.GroupResource
	obj, old object.Object
	now      time.Time
}

// claim is what a write takes of one quota.
type claim struct {
	quota  *corev1.ResourceQuota
	wanted corev1.ResourceList
}

// wanted are the resources limited by a quota of which the write takes more than the object had.
func (d *demand) wanted(q *corev1.ResourceQuota) (corev1.ResourceList, error) {
	limited := corev1.ResourceList{}
	for name, amount := range q.Spec.Hard {
		if quota.Counts(d.gr, name) {
			limited[name] = amount
		}
	}
	if len(limited) == 0 {
		return nil, nil
	}
	if p, ok := d.obj.(*corev1.Pod); ok && d.old == nil {
		if missing := quota.Missing(p, limited); len(missing) > 0 {
			return nil, fmt.Errorf("failed quota: %s: must specify %s", q.Name, missingText(missing))
		}
	}
	use := quota.Only(quota.Usage(d.gr, d.obj, d.now), limited)
	if d.old != nil && quota.InScope(q, d.old) {
		use = quota.Only(quota.Subtract(use, quota.Only(quota.Usage(d.gr, d.old, d.now), limited)), use)
	}
	for name, amount := range use {
		if amount.Sign() <= 0 {
			delete(use, name)
		}
	}
	return use, nil
}

// ask says whether a quota has what is claimed of it. The cache may be behind: only the newest state refuses.
func (d *demand) ask(ctx context.Context, c claim) error {
	if fits(c.quota, c.wanted) == nil {
		return nil
	}
	return d.fitsNow(ctx, object.KeyOf(c.quota), c.wanted)
}

// take charges one quota and gives the way to undo that.
func (d *demand) take(ctx context.Context, c claim) (back func(), err error) {
	key := object.KeyOf(c.quota)
	if err := d.add(ctx, key, c.wanted, true); err != nil {
		return nil, err
	}
	return func() {
		// The client may have given up; what it took must be given back nevertheless.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := d.add(ctx, key, quota.Subtract(quota.Zero(c.wanted), c.wanted), false); err != nil && !apierrors.IsNotFound(err) {
			d.s.log.Warn("a quota could not be given back; the controller will count anew", "quota", key.String(), "err", err)
		}
	}, nil
}

// fitsNow is fits by the newest state of a quota; one that is gone limits nothing.
func (d *demand) fitsNow(ctx context.Context, key object.Key, wanted corev1.ResourceList) error {
	e, err := d.s.registry.Get(ctx, d.quotas.Kind, key, "")
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	q, ok := e.Object().(*corev1.ResourceQuota)
	if !ok {
		return fmt.Errorf("a %T is no ResourceQuota", e.Object())
	}
	return fits(q, wanted)
}

// fits says what is in the way of taking more of a quota.
func fits(q *corev1.ResourceQuota, wanted corev1.ResourceList) error {
	var unknown []string
	exceeded := corev1.ResourceList{}
	for name, amount := range wanted {
		used, ok := q.Status.Used[name]
		hard, ok2 := q.Status.Hard[name]
		if !ok || !ok2 {
			unknown = append(unknown, string(name))
			continue
		}
		sum := used.DeepCopy()
		sum.Add(amount)
		if sum.Cmp(hard) > 0 {
			exceeded[name] = amount
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("status unknown for quota: %s, resources: %s", q.Name, strings.Join(unknown, ","))
	}
	if len(exceeded) > 0 {
		return fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name,
			amounts(exceeded), amounts(quota.Only(q.Status.Used, exceeded)), amounts(quota.Only(q.Status.Hard, exceeded)))
	}
	return nil
}

// add changes what a quota says is used, judging the newest state of it.
func (d *demand) add(ctx context.Context, key object.Key, wanted corev1.ResourceList, judge bool) error {
	_, err := d.s.registry.Write(ctx, d.quotas, key, func(cur *store.Entry) (object.Object, error) {
		q, ok := cur.Object().DeepCopyObject().(*corev1.ResourceQuota)
		if !ok {
			return nil, errors.New("no ResourceQuota")
		}
		if judge {
			if err := fits(q, wanted); err != nil {
				return nil, err
			}
		}
		if q.Status.Used == nil {
			q.Status.Used = corev1.ResourceList{}
		}
		quota.Add(q.Status.Used, quota.Only(wanted, q.Status.Used))
		return q, nil
	}, registry.UpdateOptions{})
	if judge && apierrors.IsNotFound(err) {
		return nil // the quota is gone, and its limits with it
	}
	return err
}

func amounts(list corev1.ResourceList) string {
	var out []string
	for _, name := range quota.Names(list) {
		q := list[name]
		out = append(out, string(name)+"="+q.String())
	}
	return strings.Join(out, ",")
}

func missingText(missing map[corev1.ResourceName][]string) string {
	var out []string
	for name, containers := range missing {
		out = append(out, string(name)+" for: "+strings.Join(containers, ","))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

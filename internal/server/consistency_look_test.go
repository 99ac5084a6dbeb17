package server_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/server/consistency"
)

// selects is the filter of a label selector; the fence is in all.
func selects(label string) (string, consistency.Filter) {
	if label == "" {
		return "", nil
	}
	want := label[len("v="):]
	return "v in (" + want + "," + fence + ")", func(c consistency.Change) bool { return c.Label == want || c.Label == fence }
}

// watch follows the collection until the fence: from what there is, from a list, or from where the watch before ended. Every second
// watcher takes an event only as often as one of the writers is done.
func (r *run) watch(n int, label string) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	go func() { // the fence must come some time after the end
		select {
		case <-r.ended:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(30 * time.Second):
			cancel()
		case <-ctx.Done():
		}
	}()
	selector, filter := selects(label)
	at := int64(0)
	for round := 0; ctx.Err() == nil; round++ {
		c := r.any(n + round)
		w := &consistency.Watch{Name: fmt.Sprintf("watch %d.%d (%s)", n, round, label), From: at, Filter: filter}
		o := metav1.ListOptions{LabelSelector: selector, AllowWatchBookmarks: true}
		switch {
		case at == 0 && (n+round)%2 == 0:
			w.Initial = true
			yes := true
			o.SendInitialEvents, o.ResourceVersionMatch = &yes, metav1.ResourceVersionMatchNotOlderThan
		case at == 0:
			l := r.listOnce(ctx, c, fmt.Sprintf("list of watch %d.%d", n, round), selector, filter, metav1.ListOptions{})
			if len(l.Pages) == 0 {
				continue
			}
			if slices.ContainsFunc(l.Pages[0].Items, func(i consistency.Item) bool { return i.Key == fence }) {
				return // nothing will come any more
			}
			at = l.Pages[0].Revision
			w.From = at
		}
		if at != 0 {
			o.ResourceVersion = strconv.FormatInt(at, 10)
		}
		stream, err := c.Watch(ctx, maps, storm, o)
		if err != nil {
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				at = 0
			}
			continue
		}
		done, last := r.follow(ctx, stream, w, n%2 == 1)
		stream.Stop()
		if at = last; done || ctx.Err() != nil {
			if ctx.Err() != nil {
				w.Until = 1 << 62
			}
			cancel()
		}
		r.saw("watch", w)
	}
}

// follow notes a stream until its end or the fence, and gives the revision from which to go on: 0 when that is too old.
func (r *run) follow(ctx context.Context, stream watch.Interface, w *consistency.Watch, slow bool) (done bool, last int64) {
	last = w.From
	for e := range stream.ResultChan() {
		if e.Type == watch.Error {
			if s, ok := e.Object.(*metav1.Status); ok && s.Code == 410 {
				return false, 0
			}
			return false, last
		}
		obj, ok := e.Object.(client.Object)
		if !ok {
			r.t.Errorf("%s: an event with a %T", w.Name, e.Object)
			return false, 0
		}
		seen := consistency.Event{Type: string(e.Type), Revision: revisionOf(obj)}
		if e.Type == watch.Bookmark {
			seen.InitialEnd = obj.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
		} else {
			seen.Key, seen.Value = obj.GetName(), value(obj)
		}
		w.Events = append(w.Events, seen)
		if !w.Initial || seen.InitialEnd || last != 0 {
			last = seen.Revision // initial events come in no order: only their end is a place to go on from
		}
		if seen.Key == fence {
			return true, last
		}
		if slow {
			select {
			case <-r.pace:
			case <-r.ended:
			case <-ctx.Done():
			}
		}
	}
	return false, last
}

// list lists and reads in all ways there are.
func (r *run) list(ctx context.Context, n int) {
	for round := 0; ctx.Err() == nil; round++ {
		c, acked := r.any(n+round), r.acked.Load()
		name := fmt.Sprintf("list %d.%d", n, round)
		label := []string{"", "v=even", "v=odd"}[round%3]
		selector, filter := selects(label)
		rv := strconv.FormatInt(max(acked, 1), 10)
		for _, o := range []metav1.ListOptions{
			{}, {ResourceVersion: "0"}, {Limit: 5}, {ResourceVersion: rv}, {ResourceVersion: rv, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan},
			{ResourceVersion: rv, ResourceVersionMatch: metav1.ResourceVersionMatchExact}, {ResourceVersion: rv, ResourceVersionMatch: metav1.ResourceVersionMatchExact, Limit: 3},
		} {
			r.listOnce(ctx, c, fmt.Sprintf("%s %+v", name, o.ResourceVersionMatch), selector, filter, o)
		}
		key := fmt.Sprintf("w%d-%d", round%4, round%8)
		floor := r.acked.Load()
		got, err := c.Get(ctx, maps, storm, key, metav1.GetOptions{})
		switch {
		case err == nil:
			r.saw("read", &consistency.Read{Key: key, Floor: floor, Revision: revisionOf(got), Value: value(got)})
		case apierrors.IsNotFound(err):
			r.saw("read", &consistency.Read{Key: key, Floor: floor})
		}
	}
}

// listOnce notes a list with all its pages; there are none when it failed.
func (r *run) listOnce(ctx context.Context, c client.Interface, name, selector string, filter consistency.Filter, o metav1.ListOptions) *consistency.List {
	l := &consistency.List{Name: name, Filter: filter}
	switch {
	case o.ResourceVersionMatch == metav1.ResourceVersionMatchExact:
		l.Exact = number(o.ResourceVersion)
	case o.ResourceVersion == "":
		l.Floor = r.acked.Load()
	default:
		l.AtLeast = number(o.ResourceVersion)
	}
	o.LabelSelector = selector
	for {
		got, err := c.List(ctx, maps, storm, o)
		if err != nil {
			break // a server goes, or what is asked for is compacted
		}
		p := consistency.Page{Revision: number(got.ResourceVersion), Remaining: got.RemainingItemCount}
		for _, i := range got.Items {
			if m, ok := i.(*corev1.ConfigMap); ok {
				p.Items = append(p.Items, consistency.Item{Key: m.Name, Revision: revisionOf(m), Value: value(m)})
			}
		}
		l.Pages = append(l.Pages, p)
		if l.Whole = got.Continue == ""; l.Whole {
			break
		}
		o.Continue, o.ResourceVersion, o.ResourceVersionMatch = got.Continue, "", ""
	}
	if len(l.Pages) > 0 {
		r.saw("list", l)
	}
	return l
}

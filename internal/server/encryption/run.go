package encryption

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hyperkube/internal/config"
	"hyperkube/internal/health"
)

// Run asks KMS plugins for new keys, and follows the file when it is to be reloaded, until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	s.begin(ctx, s.now.Load())
	defer func() { s.now.Load().close() }()
	if !s.cfg.Reload {
		<-ctx.Done()
		return nil
	}
	return config.Follow(ctx, s.cfg.File, s.now.Load().digest, func() { s.reload(ctx) })
}

// begin lets the plugins of a configuration be asked for new keys.
func (s *Set) begin(ctx context.Context, r *rules) {
	ctx, r.stop = context.WithCancel(ctx)
	for _, k := range r.plugins {
		go k.run(ctx)
	}
}

// reload takes the file's new content, unless something about it is wrong.
func (s *Set) reload(ctx context.Context) {
	old := s.now.Load()
	r, err := s.load()
	if err == nil {
		err = r.wakeUp(ctx)
	}
	s.metrics.reloads.Tried(digestOf(r), err)
	if err != nil {
		if r != nil {
			r.close()
		}
		s.log.Error("the new encryption configuration is not taken; the old one stays", "err", err)
		return
	}
	s.begin(ctx, r)
	s.now.Store(r)
	s.log.Info("a new encryption configuration is in use", "file", s.cfg.File)
	time.AfterFunc(time.Minute, old.close) // calls that began with it may go on
	if s.onChange != nil {
		s.onChange()
	}
}

func digestOf(r *rules) [32]byte {
	if r == nil {
		return [32]byte{}
	}
	return r.digest
}

// wakeUp asks every plugin; all must be well.
func (r *rules) wakeUp(ctx context.Context) error {
	for _, k := range r.plugins {
		if err := k.refresh(ctx); err != nil {
			return fmt.Errorf("KMS provider %s: %w", k.name, err)
		}
	}
	return nil
}

func (r *rules) close() {
	if r.stop != nil {
		r.stop()
	}
	for _, k := range r.plugins {
		_ = k.conn.Close() // nothing waits on it
	}
}

// Checks are upstream's: one for each KMS plugin, or one for all where they may change.
func (s *Set) Checks() []health.Check {
	if s.cfg.Reload {
		return []health.Check{{Name: "kms-providers", Func: s.Healthy}}
	}
	var all []health.Check
	for i, k := range s.now.Load().plugins {
		all = append(all, health.Check{Name: fmt.Sprintf("kms-provider-%d", i), Func: func(context.Context) error { return k.Healthy() }})
	}
	return all
}

// Healthy says whether all KMS plugins are well.
func (s *Set) Healthy(context.Context) error {
	var errs []error
	for i, k := range s.now.Load().plugins {
		if err := k.Healthy(); err != nil {
			errs = append(errs, fmt.Errorf("kms-provider-%d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

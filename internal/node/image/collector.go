package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CollectorConfig says when unused images go. Runtime and Images have no default.
type CollectorConfig struct {
	Runtime rt.RuntimeServiceClient
	Images  rt.ImageServiceClient
	// High and Low are percentages of the disk: at High, images go until Low is reached. 85 and 80 by default; a
	// High of 100 never collects.
	High, Low int
	// MinAge is how long an image must have been here, 2 minutes by default.
	MinAge time.Duration
	// MaxAge, when set, is how long an image may be unused whatever the disk says.
	MaxAge time.Duration
	// Period between looks at the disk, 5 minutes by default.
	Period time.Duration
	// NodeEvent, when set, takes events about the node (reason FreeDiskSpaceFailed).
	NodeEvent func(eventType, reason, message string)
	Log       *slog.Logger
}

// Collector removes unused images.
type Collector struct {
	cfg CollectorConfig
	now func() time.Time
	// disk gives the bytes of the file system at a path, all and available.
	disk func(path string) (capacity, available uint64, err error)

	mu   sync.Mutex
	seen map[string]*record
}

// record is what is known of an image: since when, and when a container last used it.
type record struct {
	detected, used time.Time
	size           uint64
	pinned         bool
}

// NewCollector makes a Collector.
func NewCollector(c CollectorConfig) (*Collector, error) {
	if c.High == 0 {
		c.High = 85
	}
	if c.Low == 0 {
		c.Low = min(80, c.High-1)
	}
	if c.High < 0 || c.High > 100 || c.Low < 0 || c.Low >= c.High {
		return nil, fmt.Errorf("image collection thresholds high %d%% and low %d%%: want 0 ≤ low < high ≤ 100", c.High, c.Low)
	}
	if c.MinAge == 0 {
		c.MinAge = 2 * time.Minute
	}
	if c.MaxAge != 0 && c.MaxAge < c.MinAge {
		return nil, fmt.Errorf("image maximum age %v is less than the minimum age %v", c.MaxAge, c.MinAge)
	}
	if c.Period == 0 {
		c.Period = 5 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "images")
	return &Collector{cfg: c, now: time.Now, disk: statfs, seen: map[string]*record{}}, nil
}

// Run looks at the disk in each period until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Period)
	defer tick.Stop()
	if err := c.detect(ctx, c.now()); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("image collection", "error", err)
	}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("image collection", "error", err)
		}
	}
}

// Collect looks at the disk once and removes images where the thresholds say so. An error says that too little could be freed.
func (c *Collector) Collect(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if err := c.detectLocked(ctx, now); err != nil {
		return err
	}
	if c.cfg.MaxAge > 0 {
		old := func(r *record) bool { return now.Sub(latest(r)) > c.cfg.MaxAge }
		if _, err := c.remove(ctx, ^uint64(0), now, old); err != nil {
			return err
		}
	}
	info, err := c.cfg.Images.ImageFsInfo(ctx, &rt.ImageFsInfoRequest{})
	if err != nil {
		return fmt.Errorf("image file system: %w", err)
	}
	if len(info.ImageFilesystems) == 0 {
		return errors.New("image file system: the runtime does not tell it")
	}
	path := info.ImageFilesystems[0].GetFsId().GetMountpoint()
	capacity, available, err := c.disk(path)
	if err != nil || capacity == 0 {
		return fmt.Errorf("image file system %s: no capacity: %w", path, err)
	}
	if used := 100 - int(available*100/capacity); used < c.cfg.High || c.cfg.High == 100 {
		return nil
	}
	want := capacity*uint64(100-c.cfg.Low)/100 - available
	freed, err := c.remove(ctx, want, now, func(*record) bool { return true })
	if err != nil {
		return err
	}
	c.cfg.Log.Info("images removed", "wanted", want, "freed", freed)
	if freed < want {
		err := fmt.Errorf("failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free", want, freed)
		if c.cfg.NodeEvent != nil {
			c.cfg.NodeEvent("Warning", "FreeDiskSpaceFailed", err.Error())
		}
		return err
	}
	return nil
}

// RemoveUnused removes every image that no container uses, whatever its age, for a node under disk pressure, and
// gives the bytes freed.
func (c *Collector) RemoveUnused(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if err := c.detectLocked(ctx, now); err != nil {
		return 0, err
	}
	return c.removeAged(ctx, ^uint64(0), now, 0, func(*record) bool { return true })
}

func (c *Collector) detect(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detectLocked(ctx, now)
}

// detectLocked brings the records up to date with the runtime.
func (c *Collector) detectLocked(ctx context.Context, now time.Time) error {
	images, err := c.cfg.Images.ListImages(ctx, &rt.ListImagesRequest{})
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	containers, err := c.cfg.Runtime.ListContainers(ctx, &rt.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("containers: %w", err)
	}
	used := map[string]bool{}
	for _, ct := range containers.Containers {
		used[ct.ImageRef], used[ct.ImageId], used[ct.GetImage().GetImage()] = true, true, true
	}
	present := map[string]*record{}
	for _, img := range images.Images {
		r := c.seen[img.Id]
		if r == nil {
			r = &record{detected: now}
		}
		r.size, r.pinned = img.Size, img.Pinned
		if used[img.Id] || slices.ContainsFunc(img.RepoTags, func(n string) bool { return used[n] }) ||
			slices.ContainsFunc(img.RepoDigests, func(n string) bool { return used[n] }) {
			r.used = now
		}
		present[img.Id] = r
	}
	c.seen = present
	return nil
}

func latest(r *record) time.Time {
	if r.used.After(r.detected) {
		return r.used
	}
	return r.detected
}

func (c *Collector) remove(ctx context.Context, want uint64, now time.Time, fits func(*record) bool) (uint64, error) {
	return c.removeAged(ctx, want, now, c.cfg.MinAge, fits)
}

// removeAged removes images that nobody uses, the longest unused first, until enough bytes are freed.
func (c *Collector) removeAged(ctx context.Context, want uint64, now time.Time, minAge time.Duration, fits func(*record) bool) (uint64, error) {
	var ids []string
	for id, r := range c.seen {
		if !r.pinned && !r.used.Equal(now) && now.Sub(r.detected) >= minAge && fits(r) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		ra, rb := c.seen[a], c.seen[b]
		return cmp.Or(ra.used.Compare(rb.used), ra.detected.Compare(rb.detected), cmp.Compare(a, b))
	})
	freed := uint64(0)
	var errs []error
	for _, id := range ids {
		if freed >= want {
			break
		}
		if _, err := c.cfg.Images.RemoveImage(ctx, &rt.RemoveImageRequest{Image: &rt.ImageSpec{Image: id}}); err != nil {
			errs = append(errs, fmt.Errorf("removing image %s: %w", id, err))
			continue
		}
		freed += c.seen[id].size
		delete(c.seen, id)
	}
	return freed, errors.Join(errs...)
}

func statfs(path string) (capacity, available uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return s.Blocks * uint64(s.Bsize), s.Bavail * uint64(s.Bsize), nil
}

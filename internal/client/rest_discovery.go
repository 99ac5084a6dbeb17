package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources reads the legacy discovery of every group, its versions in the order of the server's preference: a resource is taken from the
// first that has it. A version that cannot be read, such as that of an aggregated server that is down, costs only its own resources: those of
// all others come beside the error.
func (c *restClient) Resources(ctx context.Context) ([]metav1.APIResource, error) {
	var groups metav1.APIGroupList
	if err := c.json(ctx, "/apis", &groups); err != nil {
		return nil, err
	}
	all, err := c.resourcesOf(ctx, []schema.GroupVersion{{Version: "v1"}})
	errs := []error{err}
	for _, g := range groups.Groups {
		var versions []schema.GroupVersion
		for _, v := range g.Versions {
			versions = append(versions, schema.GroupVersion{Group: g.Name, Version: v.Version})
		}
		found, err := c.resourcesOf(ctx, versions)
		all, errs = append(all, found...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// resourcesOf are the resources of a group's versions, each in the first that has it.
func (c *restClient) resourcesOf(ctx context.Context, versions []schema.GroupVersion) (all []metav1.APIResource, err error) {
	seen := map[string]bool{}
	for _, v := range versions {
		var l metav1.APIResourceList
		if failed := c.json(ctx, root(v), &l); failed != nil {
			err = errors.Join(err, fmt.Errorf("discovery of %s: %w", v, failed))
			continue
		}
		for _, r := range l.APIResources {
			if seen[r.Name] || strings.Contains(r.Name, "/") {
				continue
			}
			seen[r.Name] = true
			r.Group, r.Version = v.Group, v.Version
			all = append(all, r)
		}
	}
	return all, err
}

// root is the path of a group and version.
func root(v schema.GroupVersion) string {
	if v.Group == "" {
		return "/api/" + v.Version
	}
	return "/apis/" + v.String()
}

// OpenAPI implements Interface.
func (c *restClient) OpenAPI(ctx context.Context, gv schema.GroupVersion) ([]byte, error) {
	var doc json.RawMessage
	if err := c.json(ctx, "/openapi/v3"+root(gv), &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI of %s: %w", gv, err)
	}
	return doc, nil
}

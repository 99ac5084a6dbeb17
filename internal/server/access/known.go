package access

import (
	"context"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/bootstrap"
)

// rolesKnown closes known when the default roles and bindings were made and the caches by which the authorizer decides have them: a
// server that says it is ready must not refuse what a default role allows.
func rolesKnown(informers *client.Informers, made <-chan struct{}, known chan<- struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-made:
		case <-ctx.Done():
			return nil
		}
		d, err := bootstrap.Defaults()
		if err != nil {
			return err
		}
		if cached(ctx, client.InformerFor(informers, client.ClusterRoles), d.ClusterRoles) &&
			cached(ctx, client.InformerFor(informers, client.Roles), d.Roles) &&
			cached(ctx, client.InformerFor(informers, client.ClusterRoleBindings), d.ClusterRoleBindings) &&
			cached(ctx, client.InformerFor(informers, client.RoleBindings), d.RoleBindings) {
			close(known)
		}
		<-ctx.Done()
		return nil
	}
}

// cached waits until a cache has told of every object by its name, even of its end; false: ctx ended before.
func cached[T client.Object](ctx context.Context, i *client.Informer[T], want []T) bool {
	missing := map[object.Key]bool{}
	for _, o := range want {
		missing[object.KeyOf(o)] = true
	}
	all := make(chan struct{})
	// Handlers are called one after the other, the authorizer's first: it registered before this one.
	i.OnChange(func(old, new T) {
		var none T
		switch {
		case len(missing) == 0:
			return
		case any(new) == any(none):
			delete(missing, object.KeyOf(old))
		default:
			delete(missing, object.KeyOf(new))
		}
		if len(missing) == 0 {
			close(all)
		}
	})
	select {
	case <-all:
		return true
	case <-ctx.Done():
		return false
	}
}

// Package admission is the contract between the API server's pipeline and what may change or refuse a write.
//
// A [Chain] runs its plugins in order: first every [Mutator], then, after defaulting and validation, every
// [Validator]. The first error ends the request; it should be an error of k8s.io/apimachinery/pkg/api/errors
// ([Forbidden] makes the usual one), any other becomes a 403 like upstream's. For one write of an existing
// object both phases may run several times: again for each newer state of the object that another
// writer stored meanwhile. Plugins hold no locks over calls and must be safe for concurrent use.
package admission

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/object"
)

// Operation is what a request does to the object.
type Operation string

// The operations of admission.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Attributes describe one write to plugins.
type Attributes struct {
	Operation Operation
	// Row is the row of the resource.
	Row *object.Kind
	// GVK and GVR are those of the request: its version may differ from the hub. For a subresource with a body
	// of its own (Binding, Eviction) GVK is the body's.
	GVK         schema.GroupVersionKind
	GVR         schema.GroupVersionResource
	Subresource string
	Namespace   string
	// Name as in the request: empty on a create with generateName.
	Name string
	// Object is the object as it would be stored, in the hub version; nil for Delete and Connect. Mutators change
	// it in place or put another in its place; validators must not change it.
	Object object.Object
	// OldObject is the stored object for Update and Delete. Shared: never change it.
	OldObject object.Object
	// Options are the CreateOptions, UpdateOptions, PatchOptions or DeleteOptions; for Connect the connect options
	// (PodExecOptions, …).
	Options runtime.Object
	DryRun  bool
	User    user.Info
	// Warn sends a text to the client in a Warning header. Never nil.
	Warn func(text string)
	// AuditsBodies says that the audit event tells bodies, so that annotations may too.
	AuditsBodies bool
	// Annotate adds an annotation to the audit event. Never nil.
	Annotate func(key, value string)
}

// GroupResource is the resource without its version.
func (a *Attributes) GroupResource() schema.GroupResource { return a.GVR.GroupResource() }

// Is says whether the attributes are of that resource (and subresource, empty for the object itself).
func (a *Attributes) Is(group, resource, subresource string) bool {
	return a.GVR.Resource == resource && a.GVR.Group == group && a.Subresource == subresource
}

// Plugin is one admission plugin: a [Mutator], a [Validator] or both.
type Plugin interface {
	// Name as in --enable-admission-plugins: "NamespaceLifecycle".
	Name() string
}

// Mutator is a plugin that may change the object.
type Mutator interface {
	Plugin
	Mutate(ctx context.Context, a *Attributes) error
}

// Validator is a plugin that may refuse the object in its final form.
type Validator interface {
	Plugin
	Validate(ctx context.Context, a *Attributes) error
}

// Chain is an ordered set of plugins, and the metrics of how long each takes. A nil Chain admits everything.
type Chain struct {
	mutators   []timedMutator
	validators []timedValidator
	names      []string

	mutating, validating timings
}

type timedMutator struct {
	Mutator
	took *timings
}

type timedValidator struct {
	Validator
	took *timings
}

// NewChain puts plugins in order. One that is neither Mutator nor Validator is an error.
func NewChain(plugins ...Plugin) (*Chain, error) {
	c := &Chain{}
	for _, p := range plugins {
		m, isMutator := p.(Mutator)
		v, isValidator := p.(Validator)
		if !isMutator && !isValidator {
			return nil, fmt.Errorf("admission plugin %s neither mutates nor validates", p.Name())
		}
		if isMutator {
			c.mutators = append(c.mutators, timedMutator{m, &timings{}})
		}
		if isValidator {
			c.validators = append(c.validators, timedValidator{v, &timings{}})
		}
		c.names = append(c.names, p.Name())
	}
	return c, nil
}

// Names of the plugins, in order.
func (c *Chain) Names() []string {
	if c == nil {
		return nil
	}
	return c.names
}

// Mutates says whether the chain has any mutator.
func (c *Chain) Mutates() bool { return c != nil && len(c.mutators) > 0 }

// Mutate runs every mutator.
func (c *Chain) Mutate(ctx context.Context, a *Attributes) error {
	if c == nil {
		return nil
	}
	w := startWatch()
	for _, m := range c.mutators {
		err := m.Mutate(ctx, a)
		w.lap(m.took, a, err)
		if err != nil {
			w.stop(&c.mutating, a, err)
			return asStatus(a, err)
		}
	}
	w.stop(&c.mutating, a, nil)
	return nil
}

// Validate runs every validator.
func (c *Chain) Validate(ctx context.Context, a *Attributes) error {
	if c == nil {
		return nil
	}
	w := startWatch()
	for _, v := range c.validators {
		err := v.Validate(ctx, a)
		w.lap(v.took, a, err)
		if err != nil {
			w.stop(&c.validating, a, err)
			return asStatus(a, err)
		}
	}
	w.stop(&c.validating, a, nil)
	return nil
}

// Forbidden is the refusal of a request: `pods "x" is forbidden: <text>`.
func Forbidden(a *Attributes, text string) error {
	name := a.Name
	if name == "" && a.Object != nil {
		if name = a.Object.GetName(); name == "" {
			name = a.Object.GetGenerateName()
		}
	}
	return apierrors.NewForbidden(a.GroupResource(), name, errors.New(text))
}

func asStatus(a *Attributes, err error) error {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return err
	}
	return Forbidden(a, err.Error())
}

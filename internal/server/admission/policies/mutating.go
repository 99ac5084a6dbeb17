package policies

import (
	"context"
	"fmt"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/client-go/applyconfigurations"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
)

type (
	mutatingPolicy  = admissionregistrationv1.MutatingAdmissionPolicy
	mutatingBinding = admissionregistrationv1.MutatingAdmissionPolicyBinding
)

var (
	mutatingPolicies = client.Resource[*mutatingPolicy]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingadmissionpolicies")}
	mutatingBindings = client.Resource[*mutatingBinding]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingadmissionpolicybindings")}
)

// Mutating is the admission plugin MutatingAdmissionPolicy.
type Mutating struct {
	cfg   Config
	set   *set[*mutatingPolicy, *mutatingBinding, *mutation]
	types func() managedfields.TypeConverter
}

// NewMutating makes the plugin.
func NewMutating(c Config) *Mutating {
	return &Mutating{c, newSet(client.InformerFor(c.Informers, mutatingPolicies), client.InformerFor(c.Informers, mutatingBindings), compileMutation,
		func(p *mutatingPolicy) *admissionregistrationv1.MatchResources { return p.Spec.MatchConstraints },
		func(b *mutatingBinding) (string, binding) {
			return b.Spec.PolicyName, binding{name: b.Name, params: b.Spec.ParamRef,
				where: func() (*match.Constraints, error) { return match.New(b.Spec.MatchResources) }}
		}),
		sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(object.Scheme()) }),
	}
}

// Name implements admission.Plugin.
func (*Mutating) Name() string { return "MutatingAdmissionPolicy" }

// Mutate implements admission.Mutator. Policies that ask for it see a second time what those after them changed.
func (p *Mutating) Mutate(ctx context.Context, a *admission.Attributes) error {
	all := p.set.effective()
	if len(all) == 0 || match.Exempt(a) || a.Object == nil || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	var again []*bound[*mutatingPolicy, *mutation]
	for _, b := range all {
		changed, err := p.run(ctx, a, b)
		if err != nil {
			return err
		}
		if !changed {
			continue
		}
		for _, earlier := range again {
			if _, err := p.run(ctx, a, earlier); err != nil {
				return err
			}
		}
		again = nil
		if b.policy.Spec.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy {
			again = append(again, b)
		}
	}
	return nil
}

// run applies one policy and says whether it changed the object.
func (p *Mutating) run(ctx context.Context, a *admission.Attributes, b *bound[*mutatingPolicy, *mutation]) (bool, error) {
	where, err := b.where()
	if err != nil {
		return false, apierrors.NewInternalError(fmt.Errorf("policy %s: %w", b.policy.Name, err))
	}
	v, ok, err := where.Matches(ctx, p.cfg.API, a, false)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if !ok {
		return false, nil
	}
	changed := false
	for _, bind := range b.bindings {
		began := time.Now()
		did, err := p.bound(ctx, a, b, &bind, v)
		if did || err != nil {
			p.cfg.Metrics.mutated(b.policy.Name, bind.name, err, time.Since(began))
		}
		if err != nil {
			if f := b.policy.Spec.FailurePolicy; f != nil && *f == admissionregistrationv1.Ignore {
				continue
			}
			return changed, admission.Forbidden(a, fmt.Sprintf("policy '%s' with binding '%s' denied request: %v", b.policy.Name, bind.name, err))
		}
		changed = changed || did
	}
	return changed, nil
}

func (p *Mutating) bound(ctx context.Context, a *admission.Attributes, b *bound[*mutatingPolicy, *mutation], bind *binding, v *object.Version) (bool, error) {
	narrow, err := bind.where()
	if err != nil {
		return false, err
	}
	if _, ok, err := narrow.Matches(ctx, p.cfg.API, a, true); err != nil || !ok {
		return false, err
	}
	compiled, err := b.compiled()
	if err != nil {
		return false, err
	}
	list, err := params(ctx, p.cfg.API, p.cfg.Table, a, b.policy.Spec.ParamKind, bind.params)
	if err != nil {
		return false, fmt.Errorf("failed to configure binding: %w", err)
	}
	changed := false
	for _, param := range list {
		in, err := match.NewInput(ctx, p.cfg.API, p.cfg.Authorizer, a, v)
		if err != nil {
			return changed, err
		}
		if ok, err := in.Passes(ctx, compiled.match, param); err != nil || !ok {
			if err != nil {
				return changed, err
			}
			continue
		}
		for _, step := range compiled.patchers {
			if err := p.step(ctx, a, step, in, param); err != nil {
				return changed, err
			}
			changed = true
		}
	}
	return changed, nil
}

// step applies one mutation to the object of the write.
func (p *Mutating) step(ctx context.Context, a *admission.Attributes, step patch.Patcher, in *match.Input, param runtime.Object) error {
	types, err := p.typesOf(in.Version)
	if err != nil {
		return err
	}
	out, err := step.Patch(ctx, patch.Request{
		MatchedResource: in.Version.GroupVersion.WithResource(a.Row.Resource), VersionedAttributes: in.Attributes,
		ObjectInterfaces: upstream.NewObjectInterfacesFromScheme(object.Scheme()), OptionalVariables: in.Bindings(param), Namespace: in.Namespace, TypeConverter: types,
	}, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return err
	}
	made, err := ownType(out, in.Version)
	if err != nil {
		return err
	}
	in.Attributes.VersionedObject.Set(made)
	if in.Version.ToHub != nil {
		if made, err = in.Version.ToHub(made); err != nil {
			return err
		}
	}
	a.Object = made
	return nil
}

func (p *Mutating) typesOf(v *object.Version) (managedfields.TypeConverter, error) {
	if v.Custom != nil {
		return v.Custom.TypeConverter()
	}
	return p.types(), nil
}

// ownType gives an object its Go type back.
func ownType(obj runtime.Object, v *object.Version) (object.Object, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok && v.Custom == nil {
		typed := v.New()
		if err := codec.ToTyped(u, typed); err != nil {
			return nil, err
		}
		obj = typed
	}
	out, ok := obj.(object.Object)
	if !ok {
		return nil, fmt.Errorf("a %T has no metadata", obj)
	}
	out.GetObjectKind().SetGroupVersionKind(v.GroupVersion.WithKind(v.Kind))
	return out, nil
}

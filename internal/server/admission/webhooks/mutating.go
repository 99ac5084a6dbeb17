package webhooks

import (
	"context"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
	"hyperkube/internal/server/decode"
)

type mutatingConfiguration = admissionregistrationv1.MutatingWebhookConfiguration

var mutatingConfigurations = client.Resource[*mutatingConfiguration]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations")}

// Mutating is the admission plugin MutatingAdmissionWebhook.
type Mutating struct {
	cfg Config
	set *set
}

// NewMutating makes the plugin.
func NewMutating(c Config) *Mutating {
	return &Mutating{c, follow(client.InformerFor(c.Informers, mutatingConfigurations), func(v *mutatingConfiguration) []*hook {
		var all []*hook
		for i := range v.Webhooks {
			w := &v.Webhooks[i]
			all = append(all, common{name: w.Name, owner: v.Name, kind: "mutating", client: w.ClientConfig, rules: w.Rules, match: w.MatchPolicy, conditions: w.MatchConditions,
				resources: admissionregistrationv1.MatchResources{NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector},
				failure:   w.FailurePolicy, effects: w.SideEffects, timeout: w.TimeoutSeconds, apiVersions: w.AdmissionReviewVersions, reinvocation: w.ReinvocationPolicy}.hook())
		}
		return all
	})}
}

// Name implements admission.Plugin.
func (*Mutating) Name() string { return "MutatingAdmissionWebhook" }

// Mutate implements admission.Mutator.
func (p *Mutating) Mutate(ctx context.Context, a *admission.Attributes) error {
	all := p.set.all()
	if len(all) == 0 || match.Exempt(a) {
		return nil
	}
	lastChange := -1
	var asked []int // of those that want to be asked again
	for i, h := range all {
		called, changed, err := p.run(ctx, a, h, place{0, i})
		if err != nil {
			return err
		}
		if changed {
			lastChange = i
		}
		if called && h.reinvoke {
			asked = append(asked, i)
		}
	}
	for _, i := range asked {
		if i >= lastChange {
			break
		}
		if _, _, err := p.run(ctx, a, all[i], place{1, i}); err != nil {
			return err
		}
	}
	return nil
}

// run asks one webhook and applies its patch.
func (p *Mutating) run(ctx context.Context, a *admission.Attributes, h *hook, at place) (called, changed bool, err error) {
	in, err := h.wants(ctx, &p.cfg, a)
	if err != nil {
		return false, false, asError(err)
	}
	if in == nil {
		return false, false, nil
	}
	response, err := h.call(ctx, &p.cfg, a, in, at)
	if err != nil || response == nil {
		return true, false, err
	}
	defer func() { h.tell(a, at, changed, response.Patch) }()
	if len(response.Patch) == 0 {
		return true, false, nil
	}
	if a.Object == nil {
		return true, false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", h.name))
	}
	changed, err = apply(a, in, response.Patch)
	if err != nil {
		return true, false, h.internal(a, at, err)
	}
	return true, changed, nil
}

// apply changes the object of the write by a JSON patch of the version that the webhook saw.
func apply(a *admission.Attributes, in *match.Input, data []byte) (bool, error) {
	patch, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return false, fmt.Errorf("the patch cannot be read: %w", err)
	}
	if len(patch) == 0 {
		return false, nil
	}
	gvk := in.Attributes.VersionedKind
	doc, err := codec.EncodeJSON(in.Attributes.VersionedObject.Object(), gvk)
	if err != nil {
		return false, err
	}
	o := jsonpatch.NewApplyOptions()
	o.SupportNegativeIndices = true
	out, err := patch.ApplyWithOptions(doc, o)
	if err != nil {
		return false, fmt.Errorf("the patch cannot be applied: %w", err)
	}
	want := decode.Expect{GroupVersionKind: gvk, New: in.Version.New, Custom: in.Version.Custom}
	if gvk.Kind != in.Version.Kind {
		want.New, want.Custom = nil, nil // a body of its own: binding, eviction, scale
	}
	made, err := read(out, want)
	if err != nil {
		return false, fmt.Errorf("the patched object cannot be read: %w", err)
	}
	if want.New != nil && in.Version.ToHub != nil {
		if made, err = in.Version.ToHub(made); err != nil {
			return false, err
		}
	}
	if want.New != nil && a.Row.Default != nil {
		a.Row.Default(made) // what comes next sees a whole object
	}
	a.Object = made
	return true, nil
}

func read(data []byte, want decode.Expect) (object.Object, error) {
	if want.New != nil {
		obj, _, _, err := decode.Object(data, codec.JSON, want, false)
		return obj, err
	}
	gvk := want.GroupVersionKind
	obj, _, err := codec.Decode(data, codec.JSON, &gvk, nil, false)
	if err != nil {
		return nil, err
	}
	out, ok := obj.(object.Object)
	if !ok {
		return nil, fmt.Errorf("a %T has no metadata", obj)
	}
	return out, nil
}

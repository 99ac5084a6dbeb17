package webhooks

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/admission/match"
)

type validatingConfiguration = admissionregistrationv1.ValidatingWebhookConfiguration

var validatingConfigurations = client.Resource[*validatingConfiguration]{GVR: admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations")}

// Validating is the admission plugin ValidatingAdmissionWebhook.
type Validating struct {
	cfg Config
	set *set
}

// NewValidating makes the plugin.
func NewValidating(c Config) *Validating {
	return &Validating{c, follow(client.InformerFor(c.Informers, validatingConfigurations), func(v *validatingConfiguration) []*hook {
		var all []*hook
		for i := range v.Webhooks {
			w := &v.Webhooks[i]
			all = append(all, common{name: w.Name, owner: v.Name, kind: "validating", client: w.ClientConfig, rules: w.Rules, match: w.MatchPolicy, conditions: w.MatchConditions,
				resources: admissionregistrationv1.MatchResources{NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector},
				failure:   w.FailurePolicy, effects: w.SideEffects, timeout: w.TimeoutSeconds, apiVersions: w.AdmissionReviewVersions}.hook())
		}
		return all
	})}
}

// Name implements admission.Plugin.
func (*Validating) Name() string { return "ValidatingAdmissionWebhook" }

// Validate implements admission.Validator: all webhooks are asked at once, and the first refusal in their order counts.
func (p *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	all := p.set.all()
	if len(all) == 0 || match.Exempt(a) {
		return nil
	}
	type asked struct {
		h     *hook
		in    *match.Input
		place place
	}
	var wanted []asked
	for i, h := range all {
		in, err := h.wants(ctx, &p.cfg, a)
		if err != nil {
			return asError(err)
		}
		if in != nil {
			wanted = append(wanted, asked{h, in, place{0, i}})
		}
	}
	// Warnings and annotations come from several webhooks at the same time.
	var mu sync.Mutex
	shared := *a
	shared.Warn = func(text string) { mu.Lock(); defer mu.Unlock(); a.Warn(text) }
	shared.Annotate = func(k, v string) { mu.Lock(); defer mu.Unlock(); a.Annotate(k, v) }
	errs := make([]error, len(wanted))
	var wg sync.WaitGroup
	for i, w := range wanted {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[i] = apierrors.NewInternalError(fmt.Errorf("webhook %s: panic: %v\n%s", w.h.name, r, debug.Stack()))
				}
			}()
			_, errs[i] = w.h.call(ctx, &p.cfg, &shared, w.in, w.place)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func asError(err error) error {
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	return apierrors.NewInternalError(err)
}

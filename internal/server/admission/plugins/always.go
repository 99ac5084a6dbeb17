package plugins

import (
	"context"

	"hyperkube/internal/server/admission"
)

// alwaysAdmit admits everything, as a chain without it does.
type alwaysAdmit struct{}

func (alwaysAdmit) Name() string { return "AlwaysAdmit" }

func (alwaysAdmit) Validate(context.Context, *admission.Attributes) error { return nil }

// alwaysDeny refuses every write.
type alwaysDeny struct{}

func (alwaysDeny) Name() string { return "AlwaysDeny" }

func (alwaysDeny) Validate(_ context.Context, a *admission.Attributes) error {
	return admission.Forbidden(a, "admission control is denying all modifications")
}

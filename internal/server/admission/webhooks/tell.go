package webhooks

import (
	"encoding/json"
	"fmt"

	"hyperkube/internal/server/admission"
)

// place is where a call stands among those of one write, for the audit log: its round, the second being the reinvocation, and the
// webhook's number among all that there are.
type place struct{ round, index int }

func (p place) String() string { return fmt.Sprintf("round_%d_index_%d", p.round, p.index) }

// tell says in the audit log what a mutating webhook did: that it changed the object and, where bodies are told, how.
func (h *hook) tell(a *admission.Attributes, at place, changed bool, patch []byte) {
	type who struct {
		Configuration string `json:"configuration"`
		Webhook       string `json:"webhook"`
	}
	me := who{h.owner, h.name}
	note := func(kind string, v any) {
		if data, err := json.Marshal(v); err == nil {
			a.Annotate(kind+".webhook.admission.k8s.io/"+at.String(), string(data))
		}
	}
	note("mutation", struct {
		who
		Mutated bool `json:"mutated"`
	}{me, changed})
	if a.AuditsBodies && changed {
		note("patch", struct {
			who
			Patch     json.RawMessage `json:"patch"`
			PatchType string          `json:"patchType"`
		}{me, patch, "JSONPatch"})
	}
}

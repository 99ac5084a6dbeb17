package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"hyperkube/internal/server/webhook"
)

// WebhookConfig says how events are sent to a webhook.
type WebhookConfig struct {
	// ConfigFile is a kubeconfig that names the webhook.
	ConfigFile string
	// InitialBackoff before the first repetition of a call that failed.
	InitialBackoff time.Duration
	Delivery
}

// hook posts lists of events.
type hook struct{ remote *webhook.Remote }

func newWebhook(c *WebhookConfig) (sink, error) {
	if c.InitialBackoff < 0 {
		return nil, fmt.Errorf("--audit-webhook-initial-backoff: must not be below 0")
	}
	r, err := webhook.FromKubeconfig(c.ConfigFile, webhook.Backoff{Initial: c.InitialBackoff, Stubborn: true})
	if err != nil {
		return nil, fmt.Errorf("--audit-webhook-config-file: %w", err)
	}
	return &hook{r}, nil
}

func (h *hook) parallel() int { return 8 }

func (h *hook) write(ctx context.Context, events []*auditv1.Event) error {
	list := auditv1.EventList{TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: auditv1.SchemeGroupVersion.String()}}
	list.Items = make([]auditv1.Event, len(events))
	for i, ev := range events {
		list.Items[i] = *ev
		list.Items[i].TypeMeta = metav1.TypeMeta{}
	}
	body, err := json.Marshal(&list)
	if err != nil {
		return err
	}
	_, err = h.remote.Post(ctx, body)
	return err
}

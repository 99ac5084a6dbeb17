package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// keyring collects the credentials for a pod. What cannot be read is told in the log and by an event,
// and the pull is tried with the rest.
func (m *Manager) keyring(ctx context.Context, r *request) *Keyring {
	k := &Keyring{}
	for _, file := range m.cfg.ConfigFiles {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = k.AddConfigJSON(data)
		}
		if err != nil {
			m.cfg.Log.Warn("registry credentials", "file", file, "error", err)
		}
	}
	if m.cfg.Secrets == nil || len(r.pod.Spec.ImagePullSecrets) == 0 {
		return k
	}
	secrets, err := m.cfg.Secrets(ctx, r.pod)
	for _, s := range secrets {
		err = errors.Join(err, k.AddSecret(s))
	}
	if err != nil {
		m.cfg.Log.Warn("image pull secrets", "pod", r.pod.Namespace+"/"+r.pod.Name, "error", err)
		m.event(r, "Warning", "FailedToRetrieveImagePullSecret",
			"Unable to retrieve some image pull secrets; attempting to pull the image may not succeed.")
	}
	return k
}

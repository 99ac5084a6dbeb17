package status

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// patches is an API that takes patches of pods.
type patches struct {
	client.Interface
	got chan string
}

func (p *patches) Patch(_ context.Context, _ client.GVR, ns, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (client.Object, error) {
	p.got <- string(data)
	return readyPod("9", corev1.ConditionTrue), nil
}

func readyPod(version string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "u", ResourceVersion: version},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

// TestOthersWrites: the node lifecycle controller says that the pods of a node that is not ready are not ready. The kubelet says otherwise once it
// knows, even where it knows the pod only as it was before.
func TestOthersWrites(t *testing.T) {
	before, after := readyPod("1", corev1.ConditionTrue), readyPod("2", corev1.ConditionFalse)
	for name, tell := range map[string]func(*Writer){
		"after the first status":  func(w *Writer) { w.Seen(before); w.Set(before, &before.Status); w.Seen(after) },
		"before the first status": func(w *Writer) { w.Seen(before); w.Seen(after); w.Set(before, &before.Status) },
	} {
		t.Run(name, func(t *testing.T) {
			api := &patches{got: make(chan string, 4)}
			tell(NewWriter(t.Context(), api))
			select {
			case got := <-api.got:
				if !strings.Contains(got, `"status":"True"`) || !strings.Contains(got, `"uid":"u"`) {
					t.Errorf("patch %s", got)
				}
			case <-time.After(10 * time.Second):
				t.Error("the pod stays not ready")
			}
		})
	}
}

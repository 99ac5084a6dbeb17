package object

import (
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ScaleKind is a row of Scale, which is no resource but what the subresource scale of several shows: how it is managed and printed.
func ScaleKind() *Kind {
	spec, status := doc(autoscalingv1.ScaleSpec{}.SwaggerDoc()), doc(autoscalingv1.ScaleStatus{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{{
			GroupVersion: autoscalingv1.SchemeGroupVersion, Kind: "Scale", New: func() runtime.Object { return &autoscalingv1.Scale{} },
		}},
		Columns: []metav1.TableColumnDefinition{
			column("Name", "string", metaDoc()["name"]),
			column("Desired", "integer", spec["replicas"]),
			column("Available", "integer", status["replicas"]),
			ageColumn(),
		},
		Cells: cells(func(s *autoscalingv1.Scale, now time.Time) []any {
			return []any{s.Name, int64(s.Spec.Replicas), int64(s.Status.Replicas), age(s, now)}
		}),
	}
}

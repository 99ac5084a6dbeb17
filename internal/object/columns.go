package object

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
)

// doc is the documentation of the fields of an API type, by JSON name.
type doc map[string]string

func metaDoc() doc { return metav1.ObjectMeta{}.SwaggerDoc() }

// column makes a column that is always shown.
func column(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description}
}

// wide makes a column that only -o wide shows.
func wide(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description, Priority: 1}
}

func nameColumn() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: metaDoc()["name"]}
}

func ageColumn() metav1.TableColumnDefinition {
	return column("Age", "string", metaDoc()["creationTimestamp"])
}

func createdAtColumn() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Created At", Type: "date", Description: metaDoc()["creationTimestamp"]}
}

// workloadColumns are the wide columns of kinds with a pod template.
func workloadColumns(selector string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		wide("Containers", "string", "Names of each container in the template."),
		wide("Images", "string", "Images referenced by each container in the template."),
		wide("Selector", "string", selector),
	}
}

// DefaultColumns and DefaultCells print the kinds that have no columns of their own.
func DefaultColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{nameColumn(), createdAtColumn()}
}

// DefaultCells gives the cells for [DefaultColumns].
func DefaultCells(obj Object, _ time.Time) []any {
	return []any{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
}

const (
	none    = "<none>"
	unknown = "<unknown>"
)

// age is the time since an object was made, short: "5d3h".
func age(obj metav1.Object, now time.Time) string { return since(obj.GetCreationTimestamp(), now) }

func since(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return unknown
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// namesAndImages lists containers the way the wide columns do.
func namesAndImages(cs []corev1.Container) (names, images string) {
	n, i := make([]string, len(cs)), make([]string, len(cs))
	for x := range cs {
		n[x], i[x] = cs[x].Name, cs[x].Image
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

// selectorText is a label selector as kubectl writes it.
func selectorText(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }

// labelsText is a set of labels, or <none>.
func labelsText(m map[string]string) string {
	if len(m) == 0 {
		return none
	}
	return labels.FormatLabels(m)
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// joinMore joins the first max elements and says how many more there are.
func joinMore(all []string, max int) string {
	if len(all) > max {
		return fmt.Sprintf("%s + %d more...", strings.Join(all[:max], ","), len(all)-max)
	}
	return strings.Join(all, ",")
}

// accessModes are printed with their usual abbreviations, each once and in a fixed order.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	short := []struct {
		mode corev1.PersistentVolumeAccessMode
		text string
	}{
		{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"},
		{corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
	}
	var out []string
	for _, s := range short {
		for _, m := range modes {
			if m == s.mode {
				out = append(out, s.text)
				break
			}
		}
	}
	return strings.Join(out, ",")
}

// printBool is a truth value as upstream's tables write it.
func printBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

package statefulset

import (
	"encoding/json"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// templateOf reads the template that a revision keeps.
func templateOf(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("revision %s: %w", r.Name, err)
	}
	return &data.Spec.Template, nil
}

func podName(set *appsv1.StatefulSet, ordinal int) string {
	return set.Name + "-" + strconv.Itoa(ordinal)
}

// podFor makes the pod of a slot.
func (s *state) podFor(slot int) (*corev1.Pod, error) {
	r := s.revisionFor(slot)
	t, err := templateOf(r)
	if err != nil {
		return nil, err
	}
	set := s.set
	p := podset.FromTemplate(set, kind, t)
	p.GenerateName, p.Name = "", podName(set, start(set)+slot)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	for k, v := range identity(set, p.Name) {
		p.Labels[k] = v
	}
	p.Labels[appsv1.StatefulSetRevisionLabel] = r.Name
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, set.Spec.ServiceName
	p.Spec.Volumes = withClaims(set, p)
	return p, nil
}

// identity are the labels that tell which pod this is.
func identity(set *appsv1.StatefulSet, name string) map[string]string {
	n, _ := ordinalOf(set, name)
	return map[string]string{appsv1.StatefulSetPodNameLabel: name, appsv1.PodIndexLabel: strconv.Itoa(n)}
}

// mistaken gives the labels that a pod lacks or has wrong; nil when it is as it should be.
func mistaken(set *appsv1.StatefulSet, p *corev1.Pod) map[string]string {
	var out map[string]string
	for k, v := range identity(set, p.Name) {
		if p.Labels[k] != v {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// withClaims are the volumes of the pod: one for each claim template, and of the others those that have another name.
func withClaims(set *appsv1.StatefulSet, p *corev1.Pod) []corev1.Volume {
	var out []corev1.Volume
	claimed := map[string]bool{}
	for i := range set.Spec.VolumeClaimTemplates {
		name := set.Spec.VolumeClaimTemplates[i].Name
		claimed[name] = true
		out = append(out, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(name, p.Name)}}})
	}
	for _, v := range p.Spec.Volumes {
		if !claimed[v.Name] {
			out = append(out, v)
		}
	}
	return out
}

func claimName(template, pod string) string { return template + "-" + pod }

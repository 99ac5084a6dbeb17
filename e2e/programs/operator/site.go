package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
)

const group = "stage.example.test"

// Site is a web site, as it is stored.
type Site struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SiteSpec   `json:"spec,omitempty"`
	Status SiteStatus `json:"status,omitempty"`
}

// SiteSpec is what a site's owner wants.
type SiteSpec struct {
	Replicas *int32 `json:"replicas,omitempty"`
	Tier     string `json:"tier,omitempty"`
	Text     string `json:"text,omitempty"`
}

// SiteStatus is what there is.
type SiteStatus struct {
	Replicas      int32  `json:"replicas,omitempty"`
	ReadyReplicas int32  `json:"readyReplicas,omitempty"`
	Selector      string `json:"selector,omitempty"`
	// Leader is the operator's pod that wrote this.
	Leader     string             `json:"leader,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SiteList is a list of sites.
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}

// OldSite is a site as it was at first: the number of its servers was its size.
type OldSite struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   OldSiteSpec `json:"spec,omitempty"`
	Status SiteStatus  `json:"status,omitempty"`
}

// OldSiteSpec is what a site's owner wanted.
type OldSiteSpec struct {
	Size *int32 `json:"size,omitempty"`
	Tier string `json:"tier,omitempty"`
	Text string `json:"text,omitempty"`
}

// Hub says that all versions are converted to this one and back.
func (*Site) Hub() {}

// ConvertTo makes the present form of an old site.
func (s *OldSite) ConvertTo(to conversion.Hub) error {
	site := to.(*Site)
	site.ObjectMeta, site.Status = s.ObjectMeta, s.Status
	site.Spec = SiteSpec{Replicas: s.Spec.Size, Tier: s.Spec.Tier, Text: s.Spec.Text}
	return nil
}

// ConvertFrom makes the old form of a site.
func (s *OldSite) ConvertFrom(from conversion.Hub) error {
	site := from.(*Site)
	s.ObjectMeta, s.Status = site.ObjectMeta, site.Status
	s.Spec = OldSiteSpec{Size: site.Spec.Replicas, Tier: site.Spec.Tier, Text: site.Spec.Text}
	return nil
}

func addToScheme(scheme *runtime.Scheme) error {
	v1, v1beta1 := schema.GroupVersion{Group: group, Version: "v1"}, schema.GroupVersion{Group: group, Version: "v1beta1"}
	scheme.AddKnownTypes(v1, &Site{}, &SiteList{})
	scheme.AddKnownTypeWithName(v1beta1.WithKind("Site"), &OldSite{})
	metav1.AddToGroupVersion(scheme, v1)
	metav1.AddToGroupVersion(scheme, v1beta1)
	return nil
}

func (s SiteStatus) deepCopy() SiteStatus {
	s.Conditions = append([]metav1.Condition(nil), s.Conditions...)
	return s
}

// DeepCopyObject gives a copy that shares nothing.
func (s *Site) DeepCopyObject() runtime.Object {
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	c.Spec.Replicas = copyOf(s.Spec.Replicas)
	c.Status = s.Status.deepCopy()
	return &c
}

// DeepCopyObject gives a copy that shares nothing.
func (s *OldSite) DeepCopyObject() runtime.Object {
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	c.Spec.Size = copyOf(s.Spec.Size)
	c.Status = s.Status.deepCopy()
	return &c
}

// DeepCopyObject gives a copy that shares nothing.
func (l *SiteList) DeepCopyObject() runtime.Object {
	c := *l
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	c.Items = make([]Site, len(l.Items))
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopyObject().(*Site)
	}
	return &c
}

func copyOf(n *int32) *int32 {
	if n == nil {
		return nil
	}
	return new(*n)
}

package request

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Attributes shows a request to an authorizer without copying it.
type Attributes struct{ *Request }

var _ authorizer.Attributes = Attributes{}

func (a Attributes) GetUser() user.Info      { return a.User }
func (a Attributes) GetVerb() string         { return a.Verb }
func (a Attributes) IsReadOnly() bool        { return a.ReadOnly() }
func (a Attributes) GetNamespace() string    { return a.Namespace }
func (a Attributes) GetResource() string     { return a.Resource }
func (a Attributes) GetSubresource() string  { return a.Subresource }
func (a Attributes) GetName() string         { return a.Name }
func (a Attributes) GetAPIGroup() string     { return a.APIGroup }
func (a Attributes) GetAPIVersion() string   { return a.APIVersion }
func (a Attributes) IsResourceRequest() bool { return a.Info.IsResourceRequest }
func (a Attributes) GetPath() string         { return a.Path }

// GetFieldSelector parses the field selector of a list, watch or deletecollection.
func (a Attributes) GetFieldSelector() (fields.Requirements, error) {
	if a.FieldSelector == "" {
		return nil, nil
	}
	s, err := fields.ParseSelector(a.FieldSelector)
	if err != nil {
		return nil, err
	}
	return s.Requirements(), nil
}

// GetLabelSelector parses the label selector of a list, watch or deletecollection.
func (a Attributes) GetLabelSelector() (labels.Requirements, error) {
	if a.LabelSelector == "" {
		return nil, nil
	}
	s, err := labels.Parse(a.LabelSelector)
	if err != nil {
		return nil, err
	}
	reqs, _ := s.Requirements()
	return reqs, nil
}

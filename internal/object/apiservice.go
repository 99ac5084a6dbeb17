package object

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func apiServiceKind() *Kind {
	type apiService = apiregistrationv1.APIService
	return &Kind{
		Versions:      []Version{version[apiService, apiregistrationv1.APIServiceList](apiregistrationv1.SchemeGroupVersion, "APIService")},
		Resource:      "apiservices",
		Singular:      "apiservice",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "apiregistration.k8s.io/apiservices",
		Strategy: rules[*apiService]{
			Default: func(a *apiService) {
				if a.Spec.Service != nil {
					setDefaultPtr(&a.Spec.Service.Port, 443)
				}
			},
			PrepareCreate: func(a *apiService) {
				a.Status = apiregistrationv1.APIServiceStatus{}
				if a.Spec.Service == nil {
					// What this server serves itself is always there.
					a.Status.Conditions = []apiregistrationv1.APIServiceCondition{{
						Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue,
						Reason: "Local", Message: "Local APIServices are always available",
						LastTransitionTime: a.CreationTimestamp,
					}}
				}
			},
			PrepareUpdate: func(a, old *apiService) { a.Status = *old.Status.DeepCopy() },
			Name: func(a *apiService) NameRule {
				return func(name string, _ bool) []string {
					if bad := path.ValidatePathSegmentName(name, false); len(bad) > 0 {
						return bad
					}
					if want := a.Spec.Version + "." + a.Spec.Group; name != want {
						return []string{fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)}
					}
					return nil
				}
			},
			Validate: func(a *apiService) field.ErrorList { return validateAPIService(a) },
		}.full(Cluster, nil),
		Subresources: []Subresource{writes("status", rules[*apiService]{
			PrepareUpdate: func(a, old *apiService) {
				metav1.ResetObjectMetaForStatus(a, old)
				a.Spec = *old.Spec.DeepCopy()
			},
			ValidateUpdate: func(a, _ *apiService) field.ErrorList {
				var errs field.ErrorList
				for i, c := range a.Status.Conditions {
					errs = append(errs, oneOf(statusPath.Child("conditions").Index(i).Child("status"), c.Status, apiregistrationv1.ConditionTrue,
						apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown)...)
				}
				return errs
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Service", "string", "The reference to the service that hosts this API endpoint."),
			column("Available", "string", "Whether this service is available."),
			ageColumn(),
		},
		Cells: cells(func(a *apiService, now time.Time) []any {
			service := "Local"
			if s := a.Spec.Service; s != nil {
				service = s.Namespace + "/" + s.Name
			}
			available := string(apiregistrationv1.ConditionUnknown)
			for _, c := range a.Status.Conditions {
				if c.Type == apiregistrationv1.Available {
					available = string(c.Status)
					if c.Status != apiregistrationv1.ConditionTrue {
						available = fmt.Sprintf("%s (%s)", c.Status, c.Reason)
					}
				}
			}
			return []any{a.Name, service, available, age(a, now)}
		}),
	}
}

func validateAPIService(a *apiregistrationv1.APIService) field.ErrorList {
	s := &a.Spec
	var errs field.ErrorList
	if s.Group != "" {
		errs = append(errs, check(specPath.Child("group"), s.Group, validation.IsDNS1123Subdomain(s.Group))...)
	} else if s.Version != "v1" {
		errs = append(errs, field.Required(specPath.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	errs = append(errs, check(specPath.Child("version"), s.Version, validation.IsDNS1035Label(s.Version))...)
	if p := s.GroupPriorityMinimum; p <= 0 || p > 20000 {
		errs = append(errs, field.Invalid(specPath.Child("groupPriorityMinimum"), p, "must be positive and less than 20000"))
	}
	if p := s.VersionPriority; p <= 0 || p > 1000 {
		errs = append(errs, field.Invalid(specPath.Child("versionPriority"), p, "must be positive and less than 1000"))
	}
	if s.Service == nil {
		if len(s.CABundle) != 0 {
			errs = append(errs, field.Invalid(specPath.Child("caBundle"), fmt.Sprintf("%d bytes", len(s.CABundle)), "local APIServices may not have a caBundle"))
		}
		if s.InsecureSkipTLSVerify {
			errs = append(errs, field.Invalid(specPath.Child("insecureSkipTLSVerify"), s.InsecureSkipTLSVerify, "local APIServices may not have insecureSkipTLSVerify"))
		}
		return errs
	}
	at := specPath.Child("service")
	if s.Service.Namespace == "" {
		errs = append(errs, field.Required(at.Child("namespace"), ""))
	}
	if s.Service.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	port := deref(s.Service.Port, 0)
	for _, why := range validation.IsValidPortNum(int(port)) {
		errs = append(errs, field.Invalid(at.Child("port"), port, "port is not valid: "+why))
	}
	if s.InsecureSkipTLSVerify && len(s.CABundle) > 0 {
		errs = append(errs, field.Invalid(specPath.Child("insecureSkipTLSVerify"), s.InsecureSkipTLSVerify, "may not be true if caBundle is present"))
	}
	return errs
}

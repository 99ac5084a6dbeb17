package authn

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"hyperkube/internal/object"
	"hyperkube/internal/server/request"
	"hyperkube/internal/tokens"
)

// Issuer answers TokenRequests: POST …/serviceaccounts/<name>/token.
type Issuer struct {
	signer    signer
	extended  time.Duration // life of tokens whose life is extended
	issuer    string
	audiences []string
	max       time.Duration
	extend    bool
	lookup    lookup
}

const (
	defaultTokenLife = 3600    // seconds
	minTokenLife     = 600     // seconds
	maxTokenLife     = 1 << 32 // seconds
	// Tokens that pods mount by default ask for just this many seconds, by which they are known; see
	// ServiceAccounts.ExtendExpiration.
	boundPodTokenLife = 3607
	extendedTokenLife = 365 * 24 * time.Hour
)

// signer signs claims.
type signer interface {
	Sign(ctx context.Context, c *tokens.Claims) (string, error)
}

// ownKey signs with a key that the server has.
type ownKey struct{ *tokens.Signer }

func (o ownKey) Sign(_ context.Context, c *tokens.Claims) (string, error) { return o.Signer.Sign(c) }

func newIssuer(s *ServiceAccounts, l lookup) (*Issuer, error) {
	var sign signer = s.External
	extended := extendedTokenLife
	if s.External == nil {
		own, err := tokens.NewSigner(s.Signer)
		if err != nil {
			return nil, err
		}
		sign = ownKey{own}
	} else {
		extended = min(extended, s.External.MaxLife)
		switch {
		case s.MaxExpiration == 0:
			s.MaxExpiration = s.External.MaxLife
		case s.MaxExpiration > s.External.MaxLife:
			return nil, fmt.Errorf("--service-account-max-token-expiration: %s is more than the external signer allows, which is %s", s.MaxExpiration, s.External.MaxLife)
		}
	}
	return &Issuer{signer: sign, extended: extended, issuer: s.Issuers[0], audiences: s.Audiences, max: s.MaxExpiration, extend: s.ExtendExpiration, lookup: l}, nil
}

// Create issues the token that body, a TokenRequest, asks for. A dry run gives no token.
func (i *Issuer) Create(ctx context.Context, req *request.Request, body object.Object, o metav1.CreateOptions) (object.Object, error) {
	in, ok := body.(*authnv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body must be a TokenRequest, not a %T", body))
	}
	out := in.DeepCopy()
	if err := i.prepare(req, out); err != nil {
		return nil, err
	}
	sa, ok, err := i.lookup.serviceAccount(ctx, req.Namespace, req.Name, "")
	if err != nil {
		return nil, err
	}
	gr := schema.GroupResource{Resource: "serviceaccounts"}
	if !ok {
		return nil, apierrors.NewNotFound(gr, req.Name)
	}
	if in.UID != "" && in.UID != sa.UID {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: authnv1.GroupName, Resource: "TokenRequest"}, req.Name, fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", in.UID, sa.UID))
	}
	claims, err := i.claims(ctx, sa, &out.Spec)
	if err != nil {
		return nil, err
	}
	out.ObjectMeta = metav1.ObjectMeta{Name: sa.Name, Namespace: sa.Namespace, UID: types.UID(uuid.NewString()), CreationTimestamp: metav1.Time{Time: claims.IssuedAt.Time}}
	out.Status.ExpirationTimestamp = metav1.Time{Time: claims.IssuedAt.Add(time.Duration(*out.Spec.ExpirationSeconds) * time.Second)}
	if len(o.DryRun) > 0 {
		return out, nil
	}
	if out.Status.Token, err = i.signer.Sign(ctx, claims); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	req.Annotate(serviceaccount.IssuedCredentialIDAuditAnnotationKey, "JTI="+claims.ID)
	return out, nil
}

// prepare fills in defaults and judges the request.
func (i *Issuer) prepare(req *request.Request, r *authnv1.TokenRequest) error {
	if r.Namespace != "" && r.Namespace != req.Namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	kind := schema.GroupKind{Group: authnv1.GroupName, Kind: "TokenRequest"}
	if r.Name != "" && r.Name != req.Name {
		return apierrors.NewInvalid(kind, req.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "name"), r.Name, "must match the service account name if specified")})
	}
	r.Status = authnv1.TokenRequestStatus{}
	if len(r.Spec.Audiences) == 0 {
		r.Spec.Audiences = slices.Clone(i.audiences)
	}
	life := int64(defaultTokenLife)
	if r.Spec.ExpirationSeconds != nil {
		life = *r.Spec.ExpirationSeconds
	}
	path := field.NewPath("spec").Child("expirationSeconds")
	var errs field.ErrorList
	if life < minTokenLife {
		errs = append(errs, field.Invalid(path, life, "may not specify a duration less than 10 minutes"))
	}
	if life > maxTokenLife {
		errs = append(errs, field.Invalid(path, life, "may not specify a duration larger than 2^32 seconds"))
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(kind, r.Name, errs)
	}
	if i.max > 0 {
		life = min(life, int64(i.max/time.Second))
	}
	r.Spec.ExpirationSeconds = &life
	return nil
}

// claims are what the token will say. The moment of issue is a whole second.
func (i *Issuer) claims(ctx context.Context, sa *corev1.ServiceAccount, spec *authnv1.TokenRequestSpec) (*tokens.Claims, error) {
	now := i.lookup.now().Truncate(time.Second)
	k := &tokens.Private{Namespace: sa.Namespace, ServiceAccount: tokens.Ref{Name: sa.Name, UID: string(sa.UID)}}
	if spec.BoundObjectRef != nil {
		if err := i.bind(ctx, sa, spec.BoundObjectRef, k); err != nil {
			return nil, err
		}
	}
	until := now.Add(time.Duration(*spec.ExpirationSeconds) * time.Second)
	if i.extend && k.Pod != nil && *spec.ExpirationSeconds == boundPodTokenLife && slices.Equal(spec.Audiences, i.audiences) {
		k.WarnAfter = tokens.Time(until)
		until = now.Add(i.extended)
	}
	return &tokens.Claims{
		Issuer: i.issuer, Subject: serviceaccount.MakeUsername(sa.Namespace, sa.Name), Audience: spec.Audiences, ID: uuid.NewString(),
		IssuedAt: tokens.Time(now), NotBefore: tokens.Time(now), Expiry: tokens.Time(until), Kubernetes: k,
	}, nil
}

// bind checks the object that the token shall live and die with, and writes it into the claims.
func (i *Issuer) bind(ctx context.Context, sa *corev1.ServiceAccount, ref *authnv1.BoundObjectReference, k *tokens.Private) error {
	if ref.APIVersion != "v1" {
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to object of %q, kind %q", sa.Name, ref.APIVersion, ref.Kind))
	}
	switch ref.Kind {
	case "Pod":
		pod, _, err := i.lookup.pod(ctx, sa.Namespace, ref.Name, "")
		if err := boundCheck("pods", ref, pod, pod != nil, err); err != nil {
			return err
		}
		if pod.Spec.ServiceAccountName != sa.Name {
			return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", sa.Name))
		}
		k.Pod = &tokens.Ref{Name: pod.Name, UID: string(pod.UID)}
		if pod.Spec.NodeName == "" {
			return nil
		}
		k.Node = &tokens.Ref{Name: pod.Spec.NodeName}
		node, ok, err := i.lookup.node(ctx, pod.Spec.NodeName, "")
		if err != nil {
			return err
		}
		if ok {
			k.Node.UID = string(node.UID)
		}
	case "Secret":
		s, _, err := i.lookup.secret(ctx, sa.Namespace, ref.Name, "")
		if err := boundCheck("secrets", ref, s, s != nil, err); err != nil {
			return err
		}
		k.Secret = &tokens.Ref{Name: s.Name, UID: string(s.UID)}
	case "Node":
		n, _, err := i.lookup.node(ctx, ref.Name, "")
		if err := boundCheck("nodes", ref, n, n != nil, err); err != nil {
			return err
		}
		k.Node = &tokens.Ref{Name: n.Name, UID: string(n.UID)}
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to object of %q, kind %q", sa.Name, ref.APIVersion, ref.Kind))
	}
	return nil
}

func boundCheck(resource string, ref *authnv1.BoundObjectReference, o metav1.Object, found bool, err error) error {
	gr := schema.GroupResource{Resource: resource}
	switch {
	case err != nil:
		return err
	case !found:
		return apierrors.NewNotFound(gr, ref.Name)
	case ref.UID != "" && o.GetUID() != ref.UID:
		return apierrors.NewConflict(gr, ref.Name, fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	return nil
}

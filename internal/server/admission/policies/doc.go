// Package policies evaluates ValidatingAdmissionPolicies and MutatingAdmissionPolicies: rules in CEL that judge or change writes (KEP-3488,
// KEP-3962).
//
// A policy does something only where a binding names it. For every write, the policies whose rules and conditions match are
// evaluated once for each binding and each parameter object. Policies are followed by informers and compiled at their first
// use; a change is effective when the write of it has been answered, and on other servers a moment later. An expression that
// fails counts as what the policy's failurePolicy says. Policies, bindings and webhook configurations are themselves never
// subject to policies, so that a bad one can be removed.
package policies

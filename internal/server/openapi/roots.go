package openapi

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// discovery is an operation that tells what there is.
func discovery(path, id, description, tag, model string) operation {
	return operation{path: path, method: "get", id: id, description: description, tag: tag, answer: model,
		consumes: wireMedia, produces: wireMedia, codes: []string{"200"}}
}

func resourcesOperation(gv schema.GroupVersion) operation {
	return discovery(root(gv)+"/", "get"+groupWords(gv.Group)+title(gv.Version)+"APIResources", "get available resources", tag(gv), listModel)
}

// roots are the operations outside of any version, by the path of their document.
func roots(rows []*object.Kind) map[string]operation {
	all := map[string]operation{
		"api":  discovery("/api/", "getCoreAPIVersions", "get available API versions", "core", metaModels+"APIVersions"),
		"apis": discovery("/apis/", "getAPIVersions", "get available API versions", "apis", metaModels+"APIGroupList"),
		"version": {
			path: "/version/", method: "get", id: "getCodeVersion", description: "get the version information for this server", tag: "version",
			answer: "io.k8s.apimachinery.pkg.version.Info", consumes: []string{mediaJSON}, produces: []string{mediaJSON}, codes: []string{"200"},
		},
		".well-known/openid-configuration": {
			path: "/.well-known/openid-configuration/", method: "get", id: "getServiceAccountIssuerOpenIDConfiguration", tag: "WellKnown",
			description: "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
			produces:    []string{mediaJSON}, codes: []string{"200"},
		},
		"openid/v1/jwks": {
			path: "/openid/v1/jwks/", method: "get", id: "getServiceAccountIssuerOpenIDKeyset", tag: "openid",
			description: "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
			produces:    []string{"application/jwk-set+json"}, codes: []string{"200"},
		},
	}
	for _, gv := range versions(rows) {
		if gv.Group != "" && object.IsBuiltin(gv) {
			words := groupWords(gv.Group)
			all["apis/"+gv.Group] = discovery("/apis/"+gv.Group+"/", "get"+words+"APIGroup", "get information of a group", groupTag(gv.Group), metaModels+"APIGroup")
		}
	}
	return all
}

// modelsOf are those that operations name.
func modelsOf(ops []operation) []string {
	var all []string
	for i := range ops {
		for _, name := range []string{ops[i].body, ops[i].answer} {
			if name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

package openapi

// parameter is one of the query. Names and meanings are those of meta/v1's option types, whose
// documentation these sentences shorten.
type parameter struct {
	name, kind, description string
}

var (
	dryRun          = parameter{"dryRun", "string", "With 'All' nothing is persisted: all stages of processing run, and the answer is what it would have been."}
	fieldManager    = parameter{"fieldManager", "string", "The name of the actor or entity that is making these changes: at most 128 printable characters. By default it is derived from the user agent."}
	fieldValidation = parameter{"fieldValidation", "string", "What the server does with unknown and duplicate fields: Ignore drops them, Warn (the default) drops them and sends a warning for each, Strict fails the request."}

	writeParameters = []parameter{dryRun, fieldManager, fieldValidation}
	patchParameters = []parameter{dryRun, fieldManager, fieldValidation,
		{"force", "boolean", "Apply requests only: take over fields that other managers own in place of failing with a conflict."}}
	deleteParameters = []parameter{dryRun,
		{"gracePeriodSeconds", "integer", "Seconds before the object is deleted; zero deletes at once, none means the default of the kind."},
		{"ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Delete the object even when its stored form cannot be read."},
		{"orphanDependents", "boolean", "Deprecated: use propagationPolicy."},
		{"propagationPolicy", "string", "Whether and how dependents are removed: Orphan, Background or Foreground."}}
	listParameters = []parameter{
		{"allowWatchBookmarks", "boolean", "Ask for events of type BOOKMARK in a watch."},
		{"continue", "string", "The token of the page before, to get the next one at the same resource version."},
		{"fieldSelector", "string", "Restrict the answer to objects with these fields. Everything by default."},
		{"labelSelector", "string", "Restrict the answer to objects with these labels. Everything by default."},
		{"limit", "integer", "The greatest number of objects in a page of the answer."},
		{"resourceVersion", "string", "What data may be served; see https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions."},
		{"resourceVersionMatch", "string", "How resourceVersion is applied to lists: Exact or NotOlderThan."},
		{"sendInitialEvents", "boolean", "Begin a watch with an event for each object that is there, and a bookmark after them."},
		{"timeoutSeconds", "integer", "How long a list or watch may take."},
		{"watch", "boolean", "Answer with a stream of changes in place of a list."},
	}

	pathDescriptions = map[string]string{
		"name":      "name of the object",
		"namespace": "object name and auth scope, such as for teams and projects",
	}
	pretty = parameter{"pretty", "string", "If 'true', the answer is indented for people."}
)

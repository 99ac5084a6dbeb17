// Package configs holds the defaults that are built into the binary as files: people can read them here, and a golden test of
// the package that uses them shows in review what a change of one does.
package configs

import "embed"

// RBAC holds the roles and bindings that every cluster starts with: rbac/*.yaml.
//
//go:embed rbac/*.yaml
var RBAC embed.FS

// RBACBinary is RBAC ready to be decoded quickly. After a change of the YAML, make it anew:
// go test ./internal/server/bootstrap -update
//
//go:embed rbac.bin
var RBACBinary []byte

// Package untranslated keeps kubectl from unpacking its translations while the process starts, which would cost
// every role 10 ms and 4 MB. It must be imported before kubectl's commands are initialised: Go initialises packages
// in the order of their import paths, and this one's sorts first.
package untranslated

import "k8s.io/kubectl/pkg/util/i18n"

// The only init of the project: the library leaves no later moment for it. The error can only say that
// the translations were loaded already, which costs time and changes nothing else.
func init() { _ = i18n.SetLoadTranslationsFunc(func() error { return nil }) }

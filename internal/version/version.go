// Package version tells which Kubernetes this program is.
package version

import (
	"encoding/json"
	"runtime"
	"strings"

	"k8s.io/apimachinery/pkg/version"
	build "k8s.io/component-base/version"
)

// Kubernetes is the release whose API this is.
const Kubernetes = "v1.37.2"

// Line is what --version prints.
const Line = "Kubernetes " + Kubernetes

// Info is what /version says: the release, and the commit of this build.
func Info() version.Info {
	v := version.Info{
		Major: "1", Minor: "37", EmulationMajor: "1", EmulationMinor: "37", MinCompatibilityMajor: "1", MinCompatibilityMinor: "36",
		GitVersion: Kubernetes, GitTreeState: "clean", BuildDate: "1970-01-01T00:00:00Z",
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	// The build sets these; a plain `go build` leaves what the source archive says, which is nothing.
	if b := build.Get(); !strings.Contains(b.GitCommit, "$") {
		v.GitCommit, v.GitTreeState, v.BuildDate = b.GitCommit, b.GitTreeState, b.BuildDate
	}
	return v
}

// Raw is Info as JSON, which --version=raw prints.
func Raw() string {
	text, err := json.Marshal(Info())
	if err != nil {
		return Line // it is made of strings
	}
	return string(text)
}

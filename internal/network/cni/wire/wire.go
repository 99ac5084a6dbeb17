// Package wire is what the CNI plugin executable and the node process say to each other over
// their unix socket. It imports nothing but the standard library, since the plugin starts once for each pod
// and its size is start-up time.
//
// The plugin connects, writes one [Request] as JSON, closes its side, and reads one [Response] until the end of the stream. One
// connection carries one request.
package wire

import "encoding/json"

// Versions of the CNI specification that both sides speak, oldest first.
func Versions() []string { return []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// Newest is the newest version of the specification spoken.
const Newest = "1.1.0"

// Error codes of the CNI specification, section "Error".
const (
	CodeIncompatibleVersion = 1
	CodeUnsupportedField    = 2
	CodeUnknownContainer    = 3
	CodeInvalidEnvironment  = 4
	CodeIO                  = 5
	CodeDecode              = 6
	CodeInvalidConfig       = 7
	CodeTryAgainLater       = 11
	CodeNotAvailable        = 50
	CodeInternal            = 999
)

// Request is one call of the plugin.
type Request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	NetNS       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifName,omitempty"`
	Args        string          `json:"args,omitempty"`
	Config      json.RawMessage `json:"config"`
}

// Response has either a result, which may be empty for commands without one, or an error.
type Response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Error is the error document of the CNI specification.
type Error struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details,omitempty"`
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Details
}

package cri

import "testing"

func TestOperationsHaveUpstreamsNames(t *testing.T) {
	for method, want := range map[string]string{
		"/runtime.v1.RuntimeService/RunPodSandbox": "run_podsandbox", "/runtime.v1.RuntimeService/ListContainers": "list_containers",
		"/runtime.v1.RuntimeService/ExecSync": "exec_sync", "/runtime.v1.ImageService/PullImage": "pull_image", "/runtime.v1.RuntimeService/PodSandboxStatus": "podsandbox_status",
	} {
		if got := operation(method); got != want {
			t.Errorf("%s is %q, want %q", method, got, want)
		}
	}
}

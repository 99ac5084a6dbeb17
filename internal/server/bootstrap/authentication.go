package bootstrap

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Authentication is what extension API servers need to know to trust the same clients as this server
// (https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/). Empty lists of headers mean upstream's.
type Authentication struct {
	ClientCA     []byte // PEM; empty: none
	FrontProxyCA []byte // PEM; empty: no front proxy

	AllowedNames                                                   []string
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

func (a *Authentication) configMap() (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "extension-apiserver-authentication"},
		Data:       map[string]string{},
	}
	if len(a.ClientCA) > 0 {
		cm.Data["client-ca-file"] = string(a.ClientCA)
	}
	if len(a.FrontProxyCA) == 0 {
		return cm, nil
	}
	cm.Data["requestheader-client-ca-file"] = string(a.FrontProxyCA)
	for _, f := range []struct {
		key      string
		have     []string
		standard string
	}{
		{"requestheader-allowed-names", a.AllowedNames, ""},
		{"requestheader-username-headers", a.UsernameHeaders, "X-Remote-User"},
		{"requestheader-uid-headers", a.UIDHeaders, "X-Remote-Uid"},
		{"requestheader-group-headers", a.GroupHeaders, "X-Remote-Group"},
		{"requestheader-extra-headers-prefix", a.ExtraHeaderPrefixes, "X-Remote-Extra-"},
	} {
		list := f.have
		if len(list) == 0 && f.standard != "" {
			list = []string{f.standard}
		}
		if list == nil {
			list = []string{}
		}
		data, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		cm.Data[f.key] = string(data)
	}
	return cm, nil
}

package ownwrites

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object"
)

func TestNewest(t *testing.T) {
	at := func(uid, rv string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "n", UID: types.UID(uid), ResourceVersion: rv}}
	}
	var s Set[*corev1.ConfigMap]
	cached := at("a", "9")
	require.Same(t, cached, s.Newest(cached))
	mine := at("a", "10")
	s.Wrote(mine)
	require.Same(t, mine, s.Newest(cached), "versions are numbers, not texts")
	later := at("a", "11")
	require.Same(t, later, s.Newest(later))
	require.Same(t, cached, s.Newest(cached), "what the cache had once is not remembered")
	s.Wrote(mine)
	other := at("b", "3")
	require.Same(t, other, s.Newest(other), "another object of the name")
	s.Wrote(mine)
	s.Forget(object.KeyOf(mine))
	require.Same(t, cached, s.Newest(cached))
}

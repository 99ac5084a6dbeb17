package codec

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
)

// FuzzQuickMeta holds the quick look against the ordinary one, over all that is JSON.
func FuzzQuickMeta(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"kind":"Pod","apiVersion":"v1"}`, `{"metadata":{"kind":"x","a":[{"kind":"y"}]},"kind":"Pod"}`,
		`{"Kind":"Pod","apiVersion":"v1"}`, `{"kind":"Pod","KIND":"Job"}`, `{"kind":"Pod","kind":"Job"}`, `{"\u006bind":"Pod"}`, `{"kind":"P\u006fd"}`,
		`{"kind":null,"apiVersion":"apps/v1"}`, `{"kind":5}`, `{"apiVersion":"a/b/c"}`, `{"x":"\\","kind":"Pod"}`, `{"x":"\\\"","kind":"Pod"}`,
		`{"x":"}","y":-1.5e3 , "z":true,"kind":"Pod"}`, `{"x":[],"y":{},"kind":"Pod"}`, "{\"\u212aind\":\"Pod\"}", `[]`, `"kind"`, `null`, `{"kind":"Pod"} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := quickMeta{}.Interpret(data)
		if !json.Valid(data) {
			return // the parse that follows says so
		}
		want, wantErr := jsonserializer.DefaultMetaFactory.Interpret(data)
		require.Equal(t, wantErr, err)
		require.Equal(t, want, got)
	})
}

func TestFaultySyntaxIsExplainedAsUpstreamDoes(t *testing.T) {
	for _, data := range []string{
		`{"kind":"Pod","apiVersion":"v1","spec":{"nodeName":x}}`, `{"kind":"Pod","apiVersion":"v1","spec":{`, `{"kind":"Pod","apiVersion":"v1"} x`, `{"kind":"Nothing","apiVersion":"v1","a":[}`,
	} {
		_, want := jsonserializer.DefaultMetaFactory.Interpret([]byte(data))
		require.Error(t, want, data)
		for _, strict := range []bool{false, true} {
			_, _, err := Decode([]byte(data), JSON, nil, nil, strict)
			require.EqualError(t, err, want.Error(), data)
		}
	}
}

func BenchmarkMeta(b *testing.B) {
	data := []byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"example.test/i:1","args":["a","b"]}]}}`)
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			_, _ = quickMeta{}.Interpret(data)
		}
	})
	b.Run("ordinary", func(b *testing.B) {
		for b.Loop() {
			_, _ = jsonserializer.DefaultMetaFactory.Interpret(data)
		}
	})
}

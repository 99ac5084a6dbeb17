package codec

import (
	quickjson "github.com/go-json-experiment/json"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// decodeQuick reads JSON that is beyond reproach: of the kind that is expected and says so, with no field twice and none that the Go
// type does not have, every value of its field's type. That is nearly all that is ever sent. Of anything else it gives false, and the
// ordinary decoder, which takes several times as long, has the last word: what is wrong is its to say.
//
// Where both give an object it is the same: the quick decoder, too, takes names in their exact letters and asks the types'
// own methods. Its default of reading any number into an interface as a float does no harm, since no built-in type has such a field.
func decodeQuick(data []byte, want schema.GroupVersionKind) (runtime.Object, bool) {
	apiVersion, kind, ok := scanMeta(data)
	if !ok || kind != want.Kind || apiVersion != want.GroupVersion().String() {
		return nil, false
	}
	obj, err := object.Scheme().New(want)
	if err != nil {
		return nil, false
	}
	return obj, UnmarshalQuick(data, obj) == nil
}

// UnmarshalQuick reads JSON into an empty value of a built-in type. It refuses duplicate and unknown fields, in words of its own, which are
// for nobody's eyes: after an error the value is half filled, and the JSON is to be decoded by other means.
func UnmarshalQuick(data []byte, into any) error {
	return quickjson.Unmarshal(data, into, quickjson.RejectUnknownMembers(true))
}

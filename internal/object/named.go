package object

import "iter"

type pair[T any] struct {
	name  string
	value T
}

func named[T any](name string, value T) pair[T] { return pair[T]{name, value} }

// inOrder goes through fields by their names. A map would do so in another order each time, and so would the causes of a refusal come.
func inOrder[T any](fields ...pair[T]) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, f := range fields {
			if !yield(f.name, f.value) {
				return
			}
		}
	}
}

package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Sum is the median of samples with the least and the greatest, as text.
func Sum(samples []float64) string {
	switch len(samples) {
	case 0:
		return ""
	case 1:
		return number(samples[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(samples)), number(slices.Min(samples)), number(slices.Max(samples)))
}

func median(samples []float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// number shows three digits that count, and never fewer than those before the point.
func number(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	text := strconv.FormatFloat(v, 'f', max(0, digits), 64)
	if digits > 0 {
		for text[len(text)-1] == '0' {
			text = text[:len(text)-1]
		}
		if text[len(text)-1] == '.' {
			text = text[:len(text)-1]
		}
	}
	return text
}

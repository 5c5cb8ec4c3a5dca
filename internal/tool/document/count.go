package document

import (
	"fmt"
	"strconv"
	"strings"
)

// Count is how many addresses there are; one that does not fit is math.MaxInt64. In a document it is a number, and above Exact, where
// others read numbers as floating point and lose digits, a string of digits.
type Count int64

// Exact is the largest Count that is a number in a document: 2^53-1.
const Exact Count = 1<<53 - 1

// MarshalJSON returns a number or a string.
func (c Count) MarshalJSON() ([]byte, error) {
	digits := strconv.AppendInt(nil, int64(c), 10)
	if c <= Exact {
		return digits, nil
	}
	return append(append([]byte{'"'}, digits...), '"'), nil
}

// UnmarshalJSON takes a number or a string of digits.
func (c *Count) UnmarshalJSON(b []byte) error {
	text := string(b)
	if text == "null" {
		return nil
	}
	if in, ok := strings.CutPrefix(text, `"`); ok {
		text = strings.TrimSuffix(in, `"`)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%s is no count; it is a number, or above %d a string of digits", b, Exact)
	}
	*c = Count(n)
	return nil
}

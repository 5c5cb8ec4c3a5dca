// Package text fits text into what the API server takes.
package text

import "strings"

// MaxMessage is the most that the message of a condition may hold, in bytes (metav1.Condition).
const MaxMessage = 32768

// Cut returns s, or as much of its beginning as fits into most bytes with three dots behind it.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}

package bgp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
)

// Types of messages (RFC 4271, 4.1; RFC 2918).
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepalive    = 4
	typeRefresh      = 5
)

// Codes of NOTIFICATION (RFC 4271, 4.5).
const (
	codeHeader = 1
	codeOpen   = 2
	codeUpdate = 3
	codeHold   = 4
	codeFSM    = 5
	codeCease  = 6
)

// Subcodes of Cease (RFC 4486, RFC 9384).
const (
	ceaseShutdown      = 2
	ceaseDeconfigured  = 3
	ceaseConfiguration = 6
	ceaseCollision     = 7
	ceaseBFDDown       = 10
)

const (
	headerLen  = 19
	maxMessage = 4096
)

// fault ends a session with a NOTIFICATION.
type fault struct {
	code, subcode uint8
	data          []byte
	text          string // for the user
}

// Error returns what the user is told.
func (f *fault) Error() string { return f.text }

// message returns a whole message.
func message(kind uint8, body []byte) []byte {
	m := make([]byte, headerLen, headerLen+len(body))
	for i := range 16 {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[16:], uint16(headerLen+len(body)))
	m[18] = kind
	return append(m, body...)
}

func notification(f *fault) []byte {
	return message(typeNotification, append([]byte{f.code, f.subcode}, f.data...))
}

// reasons are the words for code and subcode; subcode 0 is the code's own.
var reasons = map[[2]uint8]string{
	{codeHeader, 0}: "message header error",
	{codeHeader, 1}: "connection not synchronized",
	{codeHeader, 2}: "bad message length",
	{codeHeader, 3}: "bad message type",
	{codeOpen, 0}:   "OPEN message error",
	{codeOpen, 1}:   "unsupported version number",
	{codeOpen, 2}:   "bad peer AS",
	{codeOpen, 3}:   "bad BGP identifier",
	{codeOpen, 4}:   "unsupported optional parameter",
	{codeOpen, 6}:   "unacceptable hold time",
	{codeOpen, 7}:   "unsupported capability",
	{codeUpdate, 0}: "UPDATE message error",
	{codeHold, 0}:   "hold timer expired",
	{codeFSM, 0}:    "message in the wrong state",
	{codeCease, 0}:  "cease",
	{codeCease, 1}:  "too many prefixes",
	{codeCease, 2}:  "administrative shutdown",
	{codeCease, 3}:  "peer not configured any more",
	{codeCease, 4}:  "administrative reset",
	{codeCease, 5}:  "connection rejected",
	{codeCease, 6}:  "configuration changed",
	{codeCease, 7}:  "connection collision",
	{codeCease, 8}:  "out of resources",
	{codeCease, 9}:  "hard reset",
	{codeCease, 10}: "BFD down",
}

// describe puts the body of a NOTIFICATION in words.
func describe(body []byte) string {
	if len(body) < 2 {
		return "NOTIFICATION without a code"
	}
	code, subcode := body[0], body[1]
	words, ok := reasons[[2]uint8{code, subcode}]
	if !ok {
		if words, ok = reasons[[2]uint8{code, 0}]; !ok {
			words = "unknown error"
		}
	}
	words = fmt.Sprintf("%s (NOTIFICATION %d/%d)", words, code, subcode)
	// RFC 9003: administrative shutdown and reset may carry a message.
	if code == codeCease && (subcode == 2 || subcode == 4) && len(body) > 3 && int(body[2]) <= len(body)-3 {
		said := strings.ToValidUTF8(string(body[3:3+int(body[2])]), "?")
		said = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, said)
		words += fmt.Sprintf(": %q", said)
	}
	return words
}

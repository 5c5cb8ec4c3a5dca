package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// event is a message, or the end of a connection.
type event struct {
	kind uint8
	body []byte // nil for UPDATE
	err  error  // the last event of a connection
}

// refreshPause is how long at least there is between two ROUTE-REFRESH messages that are heeded: each costs the whole table.
const refreshPause = time.Second

// receive sends what a router says to events, until the connection ends; the last event says how. The bodies of UPDATE messages are
// skipped; of UPDATE messages in a row only one in a second becomes an event, as a sign of life.
func receive(ctx context.Context, r io.Reader, events chan<- event, count func(kind uint8)) {
	in := bufio.NewReaderSize(r, 64<<10)
	var updated, refreshed time.Time
	for {
		e := next(in)
		now := time.Now()
		if e.err == nil {
			count(e.kind)
			switch e.kind {
			case typeUpdate:
				if now.Sub(updated) < time.Second {
					continue
				}
				updated = now
			case typeRefresh:
				if wait := refreshPause - now.Sub(refreshed); wait > 0 && !pause(ctx, wait) {
					return
				}
				refreshed = time.Now()
			}
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
		if e.err != nil {
			return
		}
	}
}

// pause waits and reports whether ctx lasted longer.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// shortest is the least length of a message by its type (RFC 4271, 4; RFC 2918).
var shortest = map[uint8]int{typeOpen: 29, typeUpdate: 23, typeNotification: 21, typeKeepalive: headerLen, typeRefresh: 23}

// next reads one message. An error that is the router's fault is a *fault.
func next(in *bufio.Reader) event {
	var h [headerLen]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return event{err: err}
	}
	for _, b := range h[:16] {
		if b != 0xff {
			return event{err: &fault{code: codeHeader, subcode: 1, text: "the router sends what is not BGP"}}
		}
	}
	n, kind := int(binary.BigEndian.Uint16(h[16:])), h[18]
	least, known := shortest[kind]
	switch {
	case !known:
		return event{err: &fault{code: codeHeader, subcode: 3, data: h[18:],
			text: fmt.Sprintf("the router sends a message of the unknown type %d", kind)}}
	case n < least, n > maxMessage, kind == typeKeepalive && n != headerLen:
		return event{err: &fault{code: codeHeader, subcode: 2, data: h[16:18],
			text: fmt.Sprintf("the router sends a message of type %d with %d octets", kind, n)}}
	}
	n -= headerLen
	if kind == typeUpdate {
		_, err := in.Discard(n)
		return event{kind: kind, err: err}
	}
	body := make([]byte, n)
	_, err := io.ReadFull(in, body)
	return event{kind: kind, body: body, err: err}
}

// relay sends what GoBGP says to events, whole, until the connection ends.
func relay(ctx context.Context, r io.Reader, events chan<- event) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		var e event
		h := make([]byte, headerLen, 128)
		if _, err := io.ReadFull(in, h); err != nil {
			e.err = err
		} else {
			e.kind = h[18]
			e.body = append(h, make([]byte, max(0, int(binary.BigEndian.Uint16(h[16:]))-headerLen))...)
			_, e.err = io.ReadFull(in, e.body[headerLen:])
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
		if e.err != nil {
			return
		}
	}
}

package membership

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist asks for what speakers say. Its methods are called from several goroutines.
type delegate struct{ *Group }

func (delegate) NodeMeta(int) []byte { return nil }

func (d delegate) NotifyMsg(b []byte) {
	for _, p := range d.hear(b) {
		d.pass(p) // gossip lives on being passed on
	}
}

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

func (d delegate) LocalState(bool) []byte { return encode(d.state.everything()...) }

// maxPassed is how many parts of an exchange are passed on: what a newcomer says, not all that a newcomer hears.
const maxPassed = 50

func (d delegate) MergeRemoteState(b []byte, _ bool) {
	news := d.hear(b)
	if len(news) > maxPassed {
		return
	}
	for _, p := range news {
		d.pass(p)
	}
}

// hear takes in what another speaker said, and returns what of it was new. It objects to what others believe of this speaker, and tells
// those of whom this speaker believes more than they say, so that they can object.
func (g *Group) hear(b []byte) []part {
	parts, err := decode(b)
	if err != nil {
		g.c.Log.Warn("a speaker cannot be understood", "err", err)
		return nil
	}
	news := g.state.merge(parts)
	if len(news) > 0 {
		g.c.Changed()
	}
	for node, p := range g.state.settle() {
		g.tell(node, encode(p))
	}
	own := func(p part) bool { return p.Node == g.c.Node }
	if slices.ContainsFunc(news, own) {
		g.c.Log.Info("others believed of this speaker what it does not say; saying everything anew")
	}
	for _, p := range news {
		if own(p) {
			g.spread(&p)
		}
	}
	return slices.DeleteFunc(news, own)
}

// pass leaves a part to gossip, if it fits into a packet: one that does not was sent by whom it is about, to all that it knew.
func (g *Group) pass(p part) {
	if b := encode(p); len(b) <= maxPacket {
		g.gossip(b)
	}
}

// events is what memberlist tells of members that come and go. It holds a lock of its own meanwhile: nothing here may call it.
type events struct{ *Group }

func (e events) NotifyJoin(n *memberlist.Node) {
	if n.Name == e.c.Node {
		return
	}
	e.c.Log.Info("speaker is alive", "node", n.Name, "addr", n.Address())
	e.state.mark(n.Name, true, addrOf(n))
	e.c.Joined(n.Name)
	e.c.Changed()
}

func (e events) NotifyLeave(n *memberlist.Node) {
	if n.Name == e.c.Node {
		return
	}
	e.c.Log.Info("speaker is gone", "node", n.Name, "left", n.State == memberlist.StateLeft)
	e.state.mark(n.Name, false, addrOf(n))
	e.c.Changed()
}

func (e events) NotifyUpdate(n *memberlist.Node) { e.state.mark(n.Name, true, addrOf(n)) }

// broadcast is a message for gossip. None makes another needless.
type broadcast []byte

func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }

// UniqueBroadcast says so to the queue, which else would look for others.
func (broadcast) UniqueBroadcast() {}

func (b broadcast) Message() []byte { return b }

func (broadcast) Finished() {}

// logger passes memberlist's log lines on.
func logger(to *slog.Logger) *log.Logger { return log.New(lines{to}, "", 0) }

type lines struct{ to *slog.Logger }

// Write takes one line: "[WARN] memberlist: what happened".
func (l lines) Write(b []byte) (int, error) {
	text := string(bytes.TrimSpace(b))
	level := slog.LevelDebug
	for prefix, is := range map[string]slog.Level{"[ERR]": slog.LevelWarn, "[WARN]": slog.LevelInfo, "[INFO]": slog.LevelDebug,
		"[DEBUG]": slog.LevelDebug} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			text, level = strings.TrimSpace(rest), is
		}
	}
	l.to.Log(context.Background(), level, "memberlist", "message", strings.TrimPrefix(text, "memberlist: "))
	return len(b), nil
}

func containsText(err error, s string) bool { return strings.Contains(err.Error(), s) }

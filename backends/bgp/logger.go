package bgp

import (
	"context"
	"log/slog"

	"github.com/osrg/gobgp/v3/pkg/log"
)

// logger has GoBGP log through slog. What GoBGP tells of a session the wire knows better, so all of it but errors is for debugging.
type logger struct{ log *slog.Logger }

var _ log.Logger = (*logger)(nil)

func (l *logger) write(level slog.Level, event string, fields log.Fields) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("event", event)}
	for _, name := range []struct{ theirs, ours string }{{"State", "state"}, {"Error", "err"}, {"Err", "err"}, {"Reason", "reason"},
		{"Data", "data"}} {
		if v, ok := fields[name.theirs]; ok {
			attrs = append(attrs, slog.Any(name.ours, v))
		}
	}
	l.log.LogAttrs(context.Background(), level, "GoBGP says", attrs...)
}

// Panic and Fatal end nothing: a session that is in disorder must not take the others with it.
func (l *logger) Panic(msg string, fields log.Fields) { l.write(slog.LevelError, msg, fields) }
func (l *logger) Fatal(msg string, fields log.Fields) { l.write(slog.LevelError, msg, fields) }
func (l *logger) Error(msg string, fields log.Fields) { l.write(slog.LevelWarn, msg, fields) }
func (l *logger) Warn(msg string, fields log.Fields)  { l.write(slog.LevelDebug, msg, fields) }
func (l *logger) Info(msg string, fields log.Fields)  { l.write(slog.LevelDebug, msg, fields) }
func (l *logger) Debug(msg string, fields log.Fields) { l.write(slog.LevelDebug, msg, fields) }

// SetLevel does nothing: the level is slog's.
func (l *logger) SetLevel(log.LogLevel) {}

// GetLevel spares GoBGP the work of messages that nobody reads.
func (l *logger) GetLevel() log.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return log.DebugLevel
	}
	return log.InfoLevel
}

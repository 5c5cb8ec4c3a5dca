package bfd

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a packet as it is in the RFC's picture, byte by byte.
var sample = []byte{
	0x21, 0xe8, 3, 24, // version 1, diagnostic 1; Up, P, C; multiplier, length
	0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // my and your discriminators
	0x00, 0x00, 0xc3, 0x50, 0x00, 0x01, 0x86, 0xa0, 0xff, 0xff, 0xff, 0xff, // 50 ms, 100 ms, the longest interval
}

var sampled = packet{
	diagnostic: ControlDetectionTimeExpired, state: Up, poll: true, independent: true, multiplier: 3, my: 0x01020304, your: 0x05060708,
	minTx: 50 * time.Millisecond, minRx: 100 * time.Millisecond, echo: (1<<32 - 1) * time.Microsecond,
}

func TestPacket(t *testing.T) {
	p, reason := parse(sample)
	require.Equal(t, accepted, reason)
	assert.Equal(t, sampled, p)
	assert.Equal(t, sample, sampled.append(nil))
	p, reason = parse(append(slices.Clone(sample), 1, 2, 3))
	require.Equal(t, accepted, reason, "what follows the packet is no part of it")
	assert.Equal(t, sampled, p)
}

func TestRefused(t *testing.T) {
	patch := func(at int, b ...byte) []byte {
		out := slices.Clone(sample)
		copy(out[at:], b)
		return out
	}
	zero := []byte{0, 0, 0, 0}
	for _, tc := range []struct {
		name string
		data []byte
		want Reason
	}{
		{"nothing", nil, Truncated},
		{"23 bytes", sample[:23], Truncated},
		{"version 0", patch(0, 0x01), WrongVersion},
		{"version 2", patch(0, 0x41), WrongVersion},
		{"length 23", patch(3, 23), WrongLength},
		{"length 0", patch(3, 0), WrongLength},
		{"length 25 of 24", patch(3, 25), Truncated},
		{"length 24 with authentication", patch(1, 0xec), WrongLength},
		{"length 25 with authentication", append(patch(1, 0xec, 3, 25), 0), WrongLength},
		{"authentication that is cut off", append(patch(1, 0xec, 3, 28), 0), Truncated},
		{"authentication", append(patch(1, 0xec, 3, 26), 1, 2), Authenticated},
		{"multiplier 0", patch(2, 0), ZeroMultiplier},
		{"multipoint", patch(1, 0xc1), Multipoint},
		{"my discriminator 0", patch(4, zero...), ZeroDiscriminator},
		{"your discriminator 0, Up", patch(8, zero...), MissingDiscriminator},
		{"your discriminator 0, Init", slices.Concat([]byte{0x20, 0x80}, patch(8, zero...)[2:]), MissingDiscriminator},
		{"your discriminator 0, Down", slices.Concat([]byte{0x20, 0x40}, patch(8, zero...)[2:]), accepted},
		{"your discriminator 0, AdminDown", slices.Concat([]byte{0x20, 0x00}, patch(8, zero...)[2:]), accepted},
		{"a diagnostic that nobody knows", patch(0, 0x3f), accepted},
		{"poll and final", patch(1, 0xf0), accepted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, reason := parse(tc.data)
			assert.Equal(t, tc.want.String(), reason.String())
		})
	}
}

// FuzzPacket looks for a packet that cannot be read, and for one that is not what it was after it was written and read again.
func FuzzPacket(f *testing.F) {
	f.Add(sample)
	f.Add([]byte{0x20, 0x40, 3, 24, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{0x20, 0xc4, 3, 26}, make([]byte, 22)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, reason := parse(b)
		if reason != accepted {
			require.Less(t, reason, UnknownSession)
			return
		}
		require.NotZero(t, p.multiplier)
		require.NotZero(t, p.my)
		again, reason := parse(p.append(nil))
		require.Equal(t, accepted, reason)
		require.Equal(t, p, again)

		// No packet breaks a machine: it always knows when it has to do something next, and says what it is as it should.
		now := time.Unix(0, 0)
		m := newMachine(now, 7, timing{transmit: fast, receive: fast, multiplier: 3}, func() float64 { return 0.5 })
		for range 4 {
			m.receive(now, p)
			now = now.Add(time.Millisecond)
			m.tick(now)
			out, ok := m.packet(now, p.poll)
			require.True(t, ok || p.minRx == 0 || p.demand)
			_, reason := parse(out.append(nil))
			require.Equal(t, accepted, reason)
			require.False(t, out.poll && out.final)
		}
		require.False(t, m.detectAt.IsZero())
	})
}

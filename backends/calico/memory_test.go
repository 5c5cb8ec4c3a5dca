package calico

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestTakenOut: only what was seen was taken out.
func TestTakenOut(t *testing.T) {
	var m memory
	missing := func() *merged {
		return &merged{removed: prefixes("192.0.2.0/24", "10.0.0.0/8"), removedTags: []Tag{tag("192.0.2.0/24", "64512:1"), tag("192.0.2.0/24", "64512:2")}}
	}
	x := missing()
	assert.False(t, m.takenOut(x), "after a restart, nothing is known")
	assert.Empty(t, x.removed)
	assert.Empty(t, x.removedTags)
	m.see(Record{Owned: owned("192.0.2.0/24"), Tags: []Tag{tag("192.0.2.0/24", "64512:2")}})
	x = missing()
	assert.True(t, m.takenOut(x))
	assert.Equal(t, "192.0.2.0/24", join(x.removed))
	assert.Equal(t, "192.0.2.0/24 64512:2", tags(x.removedTags))
	leaves := x.leaves()
	assert.True(t, leaves.entries[x.removed[0]])
	assert.True(t, leaves.tags[x.removedTags[0].String()])
	m.see(Record{})
	assert.False(t, m.takenOut(missing()), "what may not have been written was not taken out")
}

// TestTired: three times within ten minutes, and once more when the first of them is ten minutes old.
func TestTired(t *testing.T) {
	var m memory
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	for i := range contentionLimit {
		assert.False(t, m.tired(at(i)))
		m.putBack = append(m.putBack, at(i))
	}
	assert.True(t, m.tired(at(3)))
	assert.True(t, m.tired(at(10)))
	assert.False(t, m.tired(at(11)))
	m.putBack = append(m.putBack, at(11))
	assert.False(t, m.tired(at(12)), "the second is too old as well")
	m.putBack = append(m.putBack, at(12))
	assert.False(t, m.tired(at(13)))
	assert.Len(t, m.putBack, 2)
}

package check

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHere tries a server that answers, a port that refuses, and a server that accepts and says nothing.
func TestHere(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer web.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	at := func(l net.Addr) netip.AddrPort { return netip.MustParseAddrPort(l.String()) }
	up, silent, closed := at(web.Listener.Addr()), at(mute.Addr()), at(gone.Addr())

	got, err := (&Here{Timeout: 300 * time.Millisecond, HTTP: true}).Try(t.Context(), []netip.AddrPort{up, silent, closed})
	require.NoError(t, err)
	assert.Equal(t, http.StatusTeapot, got[up].HTTP, "any answer is one")
	assert.Empty(t, got[up].Err+got[up].HTTPErr)
	assert.Empty(t, got[silent].Err)
	assert.NotEmpty(t, got[silent].HTTPErr)
	assert.Contains(t, got[closed].Err, "refused")
}

// TestFirstBroken: what is named is the first step on the way, whatever comes after.
func TestFirstBroken(t *testing.T) {
	for _, tc := range []struct {
		name      string
		before    []Step
		attempt   Attempt
		http      bool
		broken    string
		reachable string
	}{
		{"all is well", []Step{{Step: StepAssigned, State: OK}, {Step: StepSession, State: Unknown}}, Attempt{}, false, "", OK},
		{"no connection", []Step{{Step: StepAssigned, State: OK}}, Attempt{Err: "refused"}, true, StepConnect, Broken},
		{"no endpoint, so no connection", []Step{{Step: StepEndpoint, State: Broken}}, Attempt{Err: "refused"}, false, StepEndpoint, Broken},
		{"not advertised, and a connection all the same", []Step{{Step: StepAdvertised, State: Broken}}, Attempt{}, false, StepAdvertised, OK},
		{"no page", nil, Attempt{HTTPErr: "timeout"}, true, StepHTTP, OK},
		{"nobody asks for a page", nil, Attempt{HTTPErr: "timeout"}, false, "", OK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := Result{Address: "192.0.2.1", Port: 80}
			for _, s := range tc.before {
				x.add(s, "help with "+s.Step)
			}
			x.connect(&tc.attempt, tc.http)
			assert.Equal(t, tc.broken, x.Broken)
			assert.Equal(t, tc.reachable, x.Reachable)
			assert.Equal(t, tc.broken == "", x.Help == "")
		})
	}
}

// scripted answers what it was told to, one round after the other, and ends the watch with the last.
type scripted struct {
	rounds []string // one character for each target: "." works
	end    func()
}

func (*scripted) Where() string                             { return "a test" }
func (*scripted) Neighbour(netip.Addr) (string, bool, bool) { return "", false, false }
func (s *scripted) Try(_ context.Context, targets []netip.AddrPort) (map[netip.AddrPort]Attempt, error) {
	if len(s.rounds) == 0 {
		s.end()
		return nil, nil
	}
	out := map[netip.AddrPort]Attempt{}
	for i, t := range targets {
		if s.rounds[0][i] != '.' {
			out[t] = Attempt{Err: "lost"}
		} else {
			out[t] = Attempt{}
		}
	}
	s.rounds = s.rounds[1:]
	return out, nil
}

func TestWatch(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	targets := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")}
	var news []bool
	got := Watch(ctx, &scripted{[]string{"..", ".x", ".x", "..", "x."}, end}, targets, time.Millisecond, func(_ *Tally, lost bool, _ time.Duration) { news = append(news, lost) })
	require.Len(t, got, 2)
	assert.Equal(t, []bool{true, false, true}, news)
	assert.Equal(t, [4]int{5, 1, 5, 2}, [4]int{got[0].Tried, got[0].Lost, got[1].Tried, got[1].Lost})
	assert.Positive(t, got[0].LongestOutage, "one that goes on counts, too")
	assert.Positive(t, got[1].LongestOutage)
}

// TestPodSaid: what a pod says is not trusted.
func TestPodSaid(t *testing.T) {
	targets := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.1:443")}
	got, err := parse("0 0 12 0\n1 1 3000 -\n", targets, true)
	require.NoError(t, err)
	assert.Equal(t, Attempt{Took: 12 * time.Millisecond, HTTP: 200}, got[targets[0]])
	assert.Equal(t, "no connection (nc ended with 1)", got[targets[1]].Err)
	for _, said := range []string{"", "0 0 12 0\n", "0 0 12 0\n7 0 1 0\n", "x y z\n", "-1 0 0 0\n0 0 1 0"} {
		_, err := parse(said, targets, false)
		assert.Error(t, err, "%q", said)
	}
}

// TestPodScript: a pod's script tries each target, and its text is made of numbers and addresses only.
func TestPodScript(t *testing.T) {
	p := &Pod{Timeout: 1500 * time.Millisecond, HTTP: true}
	got := p.script([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:443")})
	assert.Contains(t, got, "nc -w 1 -z 192.0.2.1 80 ")
	assert.Contains(t, got, "http://192.0.2.1:80/")
	assert.Contains(t, got, "nc -w 1 -z 2001:db8::1 443 ")
	assert.Contains(t, got, "https://[2001:db8::1]:443/")
}

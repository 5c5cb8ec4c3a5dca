package layer2

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/backends"
)

const speakEnv = "FAIRLEAD_TEST_SPEAK"

// TestUnprivileged runs a Backend in a process of a user other than root, with one capability and with none.
func TestUnprivileged(t *testing.T) {
	if os.Getenv(speakEnv) != "" {
		speak(t)
		return
	}
	t.Parallel()
	if !isolated(t) {
		return
	}
	l := newLab(t)
	w := l.connect("eth0", 1)
	up := l.run(Config{})
	up.await("eth0") // from here on, the link does not change
	v4, v6 := on(1)
	for _, tc := range []struct {
		name string
		caps []uintptr
		says string
	}{
		{"NET_RAW", []uintptr{unix.CAP_NET_RAW}, "answering\n"},
		{"nothing", nil, fmt.Sprintf("announce %s/32: open an ARP socket on \"eth0\": socket: operation not permitted (packet sockets need the capability NET_RAW)\n", v4)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestUnprivileged$")
			cmd.Env = append(os.Environ(), speakEnv+"=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tc.caps,
			}
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			cmd.Stderr = os.Stderr
			require.NoError(t, cmd.Start())
			said, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, tc.says, said)
			if tc.caps != nil {
				w.requireAnswered(v4, v6)
			}
			require.NoError(t, in.Close())
			_, _ = io.Copy(io.Discard, out)
			require.NoError(t, cmd.Wait())
		})
	}
}

// speak announces, says what became of it on standard output, and ends when standard input does.
func speak(t *testing.T) {
	require.NotZero(t, os.Getuid())
	l := &lab{tb: t}
	n := l.run(Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	<-n.changes
	v4, v6 := on(1)
	if err := n.Apply(t.Context(), desired(v4, v6)); err != nil {
		fmt.Println(backends.Flatten(err)[0])
	} else {
		fmt.Println("answering")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

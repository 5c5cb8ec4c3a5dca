package tool

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// result is what a run of the plugin printed, and took.
type result struct {
	stdout    string
	wall, cpu time.Duration
	rss       float64 // MiB at its peak
}

// run runs the plugin, which is to succeed.
func run(b *testing.B, kubeconfig string, args ...string) result {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), plugin, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	require.NoError(b, cmd.Start())
	ended, peak := make(chan struct{}), make(chan float64)
	go func() { peak <- watch(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	r := result{stdout: out.String(), wall: time.Since(began)}
	close(ended)
	r.rss = <-peak
	require.NoError(b, err, "%s: %s%.4000s", strings.Join(args, " "), errs.String(), out.String())
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r
}

// watch returns the peak of a process's resident memory in MiB, as last seen before it ended. What the kernel tells afterwards counts the
// memory of the process that started it, too.
func watch(pid int, ended <-chan struct{}) (mib float64) {
	for {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			for line := range strings.Lines(string(b)) {
				if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
					if kib, err := strconv.ParseFloat(strings.Fields(v)[0], 64); err == nil {
						mib = kib / 1024
					}
				}
			}
		}
		select {
		case <-ended:
			return mib
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// proxy stands between the plugin and the API server and counts what the latter sends.
type proxy struct {
	kubeconfig string
	bytes      atomic.Int64
}

// startProxy starts a proxy, which ends with the benchmark.
func startProxy(b *testing.B, dir string) *proxy {
	b.Helper()
	config, err := clientcmd.Load(bed.Kubeconfig)
	require.NoError(b, err)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	p := &proxy{kubeconfig: filepath.Join(dir, "kubeconfig-proxy")}
	var server string
	for _, c := range config.Clusters {
		server = strings.TrimSuffix(strings.TrimPrefix(c.Server, "https://"), "/")
		c.Server = "https://" + l.Addr().String()
	}
	require.NoError(b, clientcmd.WriteToFile(*config, p.kubeconfig))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.forward(c, server)
		}
	}()
	return p
}

func (p *proxy) forward(c net.Conn, server string) {
	defer func() { _ = c.Close() }()
	s, err := net.Dial("tcp4", server)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	}()
	_, _ = io.Copy(c, io.TeeReader(s, p))
}

// Write counts.
func (p *proxy) Write(b []byte) (int, error) {
	p.bytes.Add(int64(len(b)))
	return len(b), nil
}

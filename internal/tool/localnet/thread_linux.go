package localnet

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThread calls fn on an operating system thread of its own, which ends with it: whatever fn does to its thread (a namespace, fewer
// capabilities) no other goroutine sees.
func OnThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and its namespace is what /proc/PID shows of this process. While this goroutine
			// holds it, another gets another.
			done <- OnThread(fn)
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}

// Privileged returns why this process cannot make network namespaces; nil if it can.
func Privileged() error {
	if uid := unix.Geteuid(); uid != 0 {
		return fmt.Errorf("the user's id is %d", uid)
	}
	return OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return nil
	})
}

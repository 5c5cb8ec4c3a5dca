//go:build !windows

package demo

import "syscall"

// ownGroup gives a process a group of its own, so that Ctrl-C does not reach it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

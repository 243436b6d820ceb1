//go:build !linux

package controlplane

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// attributes of processes. Only Linux can end them when we end by force.
func attributes(detached bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: detached, Setpgid: !detached}
}

// identity tells a process from a later one of the same number, by when it was
// started. It's empty if there is no such process.
func identity(pid int) string {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec,noctx // This takes no time.
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

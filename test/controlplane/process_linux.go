package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// attributes of processes. Detached ones get a session of their own, so that
// they don't end with the terminal; the others end with us, however we end.
func attributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// identity tells a process from a later one of the same number, by when it was
// started. It's empty if there is no such process, or it's a zombie.
func identity(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses, which may hold anything.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return ""
	}
	// The first of these is field 3, state. Field 22 is the start time, in
	// clock ticks since boot.
	fields := strings.Fields(string(b[i+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fields[19]
	}
	return fields[19] + "@" + strings.TrimSpace(string(boot))
}

package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the range that Linux gives to outgoing
// connections, which would otherwise take one now and then between our
// choosing it and the program listening to it.
const (
	firstPort = 20000
	lastPort  = 31999
)

// A portPool hands out ports on loopback. It listens to a port until it's
// really needed, so that another plane that is being started doesn't get it.
type portPool struct {
	mu   sync.Mutex
	held map[int]net.Listener
}

// reserve a free port.
func (p *portPool) reserve() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last error
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // This is not a secret.
		l, err := net.Listen("tcp", loopback(port))         //nolint:noctx // This takes no time.
		if err != nil {
			last = err
			continue
		}
		if p.held == nil {
			p.held = map[int]net.Listener{}
		}
		p.held[port] = l
		return port, nil
	}
	return 0, fmt.Errorf("cannot find a free port: %w", errors.Join(errors.New("tried 200"), last))
}

// release a port to the program that's about to listen to it.
func (p *portPool) release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.held[port]; ok {
		_ = l.Close()
		delete(p.held, port)
	}
}

func (p *portPool) releaseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for port, l := range p.held {
		_ = l.Close()
		delete(p.held, port)
	}
}

// port returns the plane's port of a name. It's chosen on first use.
func (c *ControlPlane) port(name string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.state.Ports[name]; ok {
		return p, nil
	}
	p, err := c.ports.reserve()
	if err != nil {
		return 0, err
	}
	c.state.Ports[name] = p
	return p, nil
}

// reservePorts chooses several ports at once, in the order of the names.
func (c *ControlPlane) reservePorts(names ...string) ([]int, error) {
	out := make([]int, 0, len(names))
	for _, n := range names {
		p, err := c.port(n)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// loopback returns the address of a port on this machine.
func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

package controlplane

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stateFile is where a plane records what it's made of.
const stateFile = "state.json"

// state of a plane. It's all that's needed to find its processes again.
type state struct {
	Layer     Layer          `json:"layer"`
	Ports     map[string]int `json:"ports"`
	Processes []*process     `json:"processes"`

	// Version of our packages, which is derived from what they're built from.
	Version string `json:"version,omitempty"`

	// Ready is set once everything has been started.
	Ready bool `json:"ready,omitempty"`
}

// save the state. A reader never sees half of it.
func (s *state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot marshal state: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return fmt.Errorf("cannot write state: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("cannot write state: %w", err)
	}
	return nil
}

// loadState reads the state of the plane in a folder.
func loadState(dir string) (*state, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // The path is ours.
	if err != nil {
		return nil, fmt.Errorf("cannot read state: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("cannot parse state: %w", err)
	}
	return s, nil
}

// process returns a process by name.
func (s *state) process(name string) (*process, error) {
	names := make([]string, 0, len(s.Processes))
	for _, p := range s.Processes {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("cannot find process %q: there are %s", name, strings.Join(names, ", "))
}

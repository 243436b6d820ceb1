package controlplane

import "testing"

func TestFull(t *testing.T) {
	c := StartT(t, Options{})
	_ = c
}

package main

// The package of the function is an image that has no other file than this
// program, and the agent of caches has to trust the Hub.
import _ "golang.org/x/crypto/x509roots/fallback"

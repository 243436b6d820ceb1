// Package inventory measures what is in a model cache, and has the document by
// which the agent that measures tells the function that reports.
package inventory

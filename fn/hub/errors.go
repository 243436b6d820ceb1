package hub

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
)

// A Reason why something failed, in CamelCase, for programs.
type Reason string

// Reasons.
const (
	// ReasonInvalid is an id, a revision or a pattern that cannot be.
	ReasonInvalid Reason = "Invalid"
	// ReasonUnauthorized is a token that is missing or not valid, or a model
	// that does not exist: without a token the Hub does not tell them apart.
	ReasonUnauthorized Reason = "Unauthorized"
	// ReasonGated is a model whose license must be accepted first.
	ReasonGated Reason = "GatedModel"
	// ReasonForbidden is a token that may not read the model.
	ReasonForbidden Reason = "Forbidden"
	// ReasonModelNotFound is a model that does not exist.
	ReasonModelNotFound Reason = "ModelNotFound"
	// ReasonRevisionNotFound is a revision that the model does not have.
	ReasonRevisionNotFound Reason = "RevisionNotFound"
	// ReasonFileNotFound is a file that was listed, and is not there.
	ReasonFileNotFound Reason = "FileNotFound"
	// ReasonNoFiles is a model without any of the files that are wanted.
	ReasonNoFiles Reason = "NoFiles"
	// ReasonRateLimited is a Hub that answered too often with 429.
	ReasonRateLimited Reason = "RateLimited"
	// ReasonUnavailable is a Hub that could not be reached, or not be
	// understood.
	ReasonUnavailable Reason = "HubUnavailable"
	// ReasonRejected is any other answer of the Hub.
	ReasonRejected Reason = "Rejected"
	// ReasonChecksum is a file that arrived with another content than the Hub
	// lists, more than once.
	ReasonChecksum Reason = "ChecksumMismatch"
	// ReasonVolumeTooSmall is a volume without enough space.
	ReasonVolumeTooSmall Reason = "VolumeTooSmall"
	// ReasonModelTooLarge is a model that is larger than its limit.
	ReasonModelTooLarge Reason = "ModelTooLarge"
	// ReasonVolume is a volume that cannot be written or read.
	ReasonVolume Reason = "VolumeError"
	// ReasonInterrupted is a download that was stopped. The next one goes on
	// where it was.
	ReasonInterrupted Reason = "Interrupted"
)

// An Error that somebody can act on.
type Error struct {
	Reason  Reason
	Message string
	// Final errors stay, however often one tries: somebody has to change
	// something first.
	Final bool

	cause error
}

// Error says what failed and what can be done.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what caused it, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf an error of this package; ReasonVolume of any other, since those
// come from the file system.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ReasonVolume
}

// IsFinal returns whether trying again is of no use.
func IsFinal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Final
}

func final(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...), Final: true}
}

// temporary is an error that may go away by itself. Its cause is not part of
// its message, which says what of it may be printed.
func temporary(r Reason, cause error, format string, args ...any) *Error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...), cause: cause}
}

// The Hub says more in these headers than by its status codes: without a token
// a model that is gated, one that is private and one that does not exist are
// all 401.
const (
	headerErrorCode    = "X-Error-Code"
	headerErrorMessage = "X-Error-Message"
)

// refused turns an answer that is no success into an error with advice.
func (c *Client) refused(rsp *http.Response, model, what string) error {
	page := c.endpoint.JoinPath(model).String()
	code := rsp.Header.Get(headerErrorCode)
	said := saidBy(rsp)
	switch {
	case code == "GatedRepo" && c.token == "":
		return final(ReasonGated, "%s is gated, and there is no token: accept the license at %s, and provide a token (HF_TOKEN) of the account that did%s", model, page, said)
	case code == "GatedRepo":
		return final(ReasonGated, "%s is gated, and the account of the token has no access: accept the license of this gated model at %s with that account, and wait if access is granted by hand%s", model, page, said)
	case code == "RevisionNotFound":
		return final(ReasonRevisionNotFound, "%s does not have the revision that is wanted for %s: use a branch, a tag or a full commit hash that %s lists%s", model, what, page, said)
	case code == "EntryNotFound":
		return final(ReasonFileNotFound, "%s is not in %s%s", what, model, said)
	case code == "RepoNotFound" || rsp.StatusCode == http.StatusUnauthorized:
		return c.unauthorized(rsp, model, said)
	case rsp.StatusCode == http.StatusForbidden:
		return final(ReasonForbidden, "the token may not read %s: give it the permission to read this repository, or gated repositories%s", model, said)
	case rsp.StatusCode == http.StatusNotFound:
		return final(ReasonModelNotFound, "%s is not at %s: check the id%s", model, c.endpoint, said)
	case rsp.StatusCode == http.StatusTooManyRequests:
		return temporary(ReasonRateLimited, nil, "%s still answers 429 Too Many Requests for %s of %s after %d attempts: a token raises the limit%s", c.endpoint, what, model, c.attempts, said)
	case rsp.StatusCode >= http.StatusInternalServerError:
		return temporary(ReasonUnavailable, nil, "%s still answers %s for %s of %s after %d attempts%s", c.endpoint, rsp.Status, what, model, c.attempts, said)
	}
	return final(ReasonRejected, "%s answers %s for %s of %s%s", c.endpoint, rsp.Status, what, model, said)
}

func (c *Client) unauthorized(rsp *http.Response, model, said string) error {
	switch {
	case rsp.StatusCode == http.StatusNotFound:
		return final(ReasonModelNotFound, "%s is not at %s: check the id%s", model, c.endpoint, said)
	case c.token == "":
		return final(ReasonUnauthorized, "%s does not exist, or is private and there is no token: check the id, or provide a token (HF_TOKEN) that may read it%s", model, said)
	}
	return final(ReasonUnauthorized, "the token is not valid, or %s does not exist or is not visible to it: check the id, and whether the token (HF_TOKEN) is current%s", model, said)
}

// saidBy the server, if it was short.
func saidBy(rsp *http.Response) string {
	s := strings.Join(strings.Fields(rsp.Header.Get(headerErrorMessage)), " ")
	if s == "" {
		return ""
	}
	if len(s) > 200 {
		s = s[:200]
	}
	return fmt.Sprintf(" (it said: %s)", strings.ToValidUTF8(s, ""))
}

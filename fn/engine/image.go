package engine

import "strings"

// ReplaceImage returns an image with another repository, another tag, or both;
// an empty one stays as it is. A mirror has the same tags and digests; another
// tag has no known digest.
func ReplaceImage(image, repository, tag string) string {
	rest, digest, _ := strings.Cut(image, "@")
	repo, has := rest, ""
	// A port in the registry's name is no tag.
	if i := strings.LastIndex(rest, ":"); i > strings.LastIndex(rest, "/") {
		repo, has = rest[:i], rest[i:]
	}
	if digest != "" {
		digest = "@" + digest
	}
	if repository != "" {
		repo = repository
	}
	if tag != "" {
		has, digest = ":"+tag, ""
	}
	return repo + has + digest
}

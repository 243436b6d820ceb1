# syntax=docker/dockerfile:1

# The same image as `make xpkg` embeds into the function package, for those who
# have Docker: docker build --platform=linux/amd64,linux/arm64 .

ARG GO_VERSION=1.26

# This runs on the platform that builds, and compiles for the one that runs.
FROM --platform=${BUILDPLATFORM} golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=v0.1.0-dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /function-aim ./fn

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /function-aim /function-aim
EXPOSE 9443 8080
USER 65532:65532
ENTRYPOINT ["/function-aim"]

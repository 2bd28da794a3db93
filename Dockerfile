# The image with both programs, worker and enqueuer: static, without a shell, for a user without rights.
#
#   docker build -t certpurge .
#   docker run --rm certpurge enqueuer --help
#
# The target demo is another image, with the program that invents a site for docker-compose.yml.
#
# .git must be part of the context: the version of the binaries comes from it.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS sources
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH

FROM sources AS build
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make binaries OUT=/out GOOS=${TARGETOS} GOARCH=${TARGETARCH} && mkdir /state

# After build, so that what both need is compiled once.
FROM build AS build-demo
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make binaries OUT=/out PROGRAMS=./internal/sandbox/cmd/demo GOOS=${TARGETOS} GOARCH=${TARGETARCH}

FROM scratch AS demo
COPY --from=build-demo /out/demo /usr/local/bin/
ENV PATH=/usr/local/bin
USER 65532:65532
CMD ["demo", "--help"]

# The last stage is what docker build makes without --target.
FROM scratch
# The certificate authorities that the Cloud Storage client and a rediss:// or TLS MySQL connection trust.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/worker /out/enqueuer /usr/local/bin/
# The place for checkpoints: a new volume there belongs to whom this directory belongs.
COPY --from=build --chown=65532:65532 /state /var/lib/certpurge
COPY configs/worker.yaml configs/enqueuer.yaml /etc/certpurge/examples/
# go version -m lists every module of the programs with its version and hash; docs/releases.md tells of bills of materials.
ENV PATH=/usr/local/bin
USER 65532:65532
LABEL org.opencontainers.image.title="certpurge" \
      org.opencontainers.image.description="Purges the legacy PDF certificates of retiring Open edX users"
CMD ["worker", "--help"]

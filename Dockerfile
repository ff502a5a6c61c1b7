# The controller's image, for those who have a Docker engine. The files in it are those of hack/image, made by the same step;
# docs/image.md says what differs. No engine: hack/image.
#
# In: this tree, and as arguments what git would say (.git is not sent). Out: an image of one layer, without a shell.
#
#   docker build -t bascule-controller --build-arg VERSION=0.1.0 \
#     --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(git log -1 --format=%cI) .
#
# BINARY names a program in this tree that is packed instead of building one.
ARG RUST=1.95-bookworm
ARG GO=1.26-bookworm

FROM golang:${GO} AS go

FROM rust:${RUST} AS build
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:$PATH
WORKDIR /bascule
COPY . .
ARG REVISION=unknown
ARG BINARY=
RUN BASCULE_BUILD_REVISION="$REVISION" hack/image ${BINARY:+--binary "$BINARY"} --rootfs-only /rootfs

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Bascule controller" \
      org.opencontainers.image.description="Starts a new version beside the running one, proves that it is healthy, moves the traffic in one step, and back when it goes bad" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.source="https://bascule.dev" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /rootfs/ /
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["/bascule-controller"]

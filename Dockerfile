# One image for what runs in the cluster. 'make image' builds the static binaries first.
FROM scratch
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=devel
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="fairlead" \
      org.opencontainers.image.description="Addresses for Services of type LoadBalancer on bare metal" \
      org.opencontainers.image.source="https://github.com/fairlead/fairlead" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY dist/${TARGETOS}_${TARGETARCH}/controller dist/${TARGETOS}_${TARGETARCH}/speaker /
USER 65532:65532
CMD ["/controller"]

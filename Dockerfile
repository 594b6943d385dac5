# syntax=docker/dockerfile:1

# Pin both by digest when you build for production: --build-arg NODE=24-bookworm-slim@sha256:…
ARG NODE=24-bookworm-slim

FROM node:${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json config.example.yaml LICENSE ./
COPY scripts scripts
COPY migrations migrations
COPY src src
RUN node scripts/build.mjs \
 && rm -rf node_modules \
 && npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && mkdir /empty

FROM node:${NODE}
ENV NODE_ENV=production \
    FAREBOX_HOST=0.0.0.0 \
    FAREBOX_PORT=8080 \
    FAREBOX_DATA=/data
WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# The only place that is written to: journal, generated secrets, and the embedded database when there is no other.
COPY --from=build --chown=10001:10001 /empty /data
VOLUME /data
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Ready means the money path works. Written for node alone, because the image needs no shell.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.FAREBOX_PORT + '/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/src/cli.js"]
CMD ["start"]
